"""How messages of syslog travel: as datagrams, or in a stream where the length of each message stands before it.

A stream is opened for each batch. After the last message this side closes its half, and waits until the receiver closes
too: then the receiver has read everything. If the receiver keeps its half open, the batch counts as sent when the
receiver's kernel has acknowledged every byte.
"""

import fcntl
import socket
import ssl
import struct
import termios
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pipeline.serving.alerts.sinks.base import UnavailableError


class Transport(ABC):
    """Sends messages to one receiver.

    Args:
        address: of the receiver.
        timeout: seconds in which it must answer.
        ca_file: certificates that it is checked with, where it is checked.
    """

    def __init__(self, address: str, timeout: float, ca_file: str) -> None:
        self.address, self.timeout, self.ca_file = address, timeout, ca_file

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages.

        Raises:
            UnavailableError: not all of them were sent.
        """
        try:
            self._send(messages)
        except OSError as error:  # those of ssl are such, too
            reason = error.strerror or str(error) or type(error).__name__
            raise UnavailableError(f"{self.address}: cannot be reached ({reason})") from error

    @abstractmethod
    def _send(self, messages: Sequence[bytes]) -> None: ...


class _OfNetwork(Transport):
    def __init__(self, address: str, timeout: float, ca_file: str) -> None:
        super().__init__(address, timeout, ca_file)
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ValueError(f"address: host:port is expected, given {address!r}")
        self.place = (host.strip("[]"), int(port))


class Udp(_OfNetwork):
    """One message a datagram (RFC 5426)."""

    def _send(self, messages: Sequence[bytes]) -> None:
        kind, place = _resolved(self.place)
        with socket.socket(kind, socket.SOCK_DGRAM) as sender:
            sender.settimeout(self.timeout)
            sender.connect(place)  # so that a closed port is reported with the next datagram
            for message in messages:
                sender.send(message)
            sender.setblocking(False)
            with suppress(BlockingIOError):
                sender.recv(1)  # raises what the last datagram met


class Unix(Transport):
    """Datagrams to a socket of this machine, such as /dev/log."""

    def __init__(self, address: str, timeout: float, ca_file: str) -> None:
        super().__init__(address, timeout, ca_file)
        if not address.startswith("/"):
            raise ValueError(f"address: the path of a socket is expected, such as /dev/log, given {address!r}")

    def _send(self, messages: Sequence[bytes]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(self.timeout)
            sender.connect(self.address)
            for message in messages:
                sender.send(message)


class Tcp(_OfNetwork):
    """Octet counting (RFC 6587, section 3.4.1)."""

    def _send(self, messages: Sequence[bytes]) -> None:
        with self._opened() as stream:
            stream.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))
            self._finished(stream)

    def _opened(self) -> socket.socket:
        return socket.create_connection(self.place, self.timeout)

    def _finished(self, stream: socket.socket) -> None:
        stream.shutdown(socket.SHUT_WR)
        try:
            while stream.recv(4096):  # a receiver of syslog says nothing; the end is what we wait for
                pass
        except TimeoutError:
            self._require_acknowledged(stream)

    def _require_acknowledged(self, stream: socket.socket) -> None:
        """Refuse to believe a receiver whose kernel lacks bytes."""
        if waiting := _unacknowledged(stream):
            raise TimeoutError(f"{waiting} bytes were not acknowledged in {self.timeout:g} s")


class Tls(Tcp):
    """The same inside TLS (RFC 5425)."""

    def _opened(self) -> socket.socket:
        checks = ssl.create_default_context(cafile=self.ca_file or None)
        return checks.wrap_socket(super()._opened(), server_hostname=self.place[0])

    def _finished(self, stream: socket.socket) -> None:
        """Say the end by close_notify, which the receiver must answer (section 4.4)."""
        assert isinstance(stream, ssl.SSLSocket)
        try:
            with suppress(ssl.SSLError):  # some close without an answer, behind the last byte
                stream.unwrap()
        except TimeoutError:
            self._require_acknowledged(stream)


TRANSPORTS: Final[dict[str, type[Transport]]] = {"udp": Udp, "tcp": Tcp, "tls": Tls, "unix": Unix}


def _resolved(place: tuple[str, int]) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    family, _, _, _, found = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
    return family, found


def _unacknowledged(stream: socket.socket) -> int:
    """Bytes that the receiver's kernel has not acknowledged: SIOCOUTQ of tcp(7), which has the number of TIOCOUTQ."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(waiting)
