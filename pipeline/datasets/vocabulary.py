"""The attacks that some data set knows, by name."""

from pipeline.datasets.schema import ATTACKS

# The published grouping of NSL-KDD, with the attacks that occur in the test file only.
GROUPS: dict[str, tuple[str, ...]] = {
    "benign": ("benign",),
    "dos": (
        "back", "land", "neptune", "pod", "smurf", "teardrop",
        "apache2", "mailbomb", "processtable", "udpstorm", "worm",
    ),
    "probe": ("ipsweep", "nmap", "portsweep", "satan", "mscan", "saint"),
    "r2l": (
        "ftp_write", "guess_passwd", "imap", "multihop", "phf", "spy", "warezclient", "warezmaster",
        "httptunnel", "named", "sendmail", "snmpgetattack", "snmpguess", "xlock", "xsnoop",
    ),
    "u2r": ("buffer_overflow", "loadmodule", "perl", "rootkit", "ps", "sqlattack", "xterm"),
}  # fmt: skip
FAMILIES: dict[str, str] = {attack: family for family, attacks in GROUPS.items() for attack in attacks}

VOCABULARY = frozenset({*ATTACKS, *FAMILIES})  # of all data sets, ``benign`` among them
