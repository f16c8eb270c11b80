"""The canonical columns of a flow record, with their units, limits and the names that the published files give them.

``FEATURES`` and ``ATTACKS`` are those of CIC-IDS-2017; another data set states its own in the same shape. One name for
one quantity, whichever extractor wrote it: ``CICFlowMeter`` (CIC-IDS-2017 as published) or its corrected release
(Engelen, Rimmer, Joosen, "Troubleshooting an Intrusion Detection Dataset: the CICIDS2017 Case Study", 2021).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """One feature of a record: a number, or a word where it is categorical.

    Attributes:
        name: canonical snake_case name.
        unit: ``us`` (microseconds), ``B`` (bytes), ``B/s``, ``1/s``, ``packets``, ``flags``, ``1`` (a ratio), ``port``.
        headers: the names that the published files give it, first the original's, then the corrected version's.
        low: smallest meaningful value, -1 if the extractor writes -1 for "never seen"; None if it is not known.
        high: largest meaningful value; None for no limit.
        integer: whether only whole numbers are meaningful.
        may_be_undefined: whether the extractor writes Infinity or NaN (a rate over a duration of zero).
        categorical: whether its values are words; "" is one that is missing.
        differs: whether tools that write flows mean different things by it; see ``datasets.extractors``.
    """

    name: str
    unit: str = ""
    headers: tuple[str, ...] = ()
    low: float | None = 0.0
    high: float | None = None
    integer: bool = True
    may_be_undefined: bool = False
    categorical: bool = False
    differs: bool = False


def _real(name: str, unit: str, *headers: str, low: float = 0.0) -> Column:
    return Column(name, unit, headers, low=low, integer=False)


def _count(name: str, unit: str, *headers: str, low: float = 0.0, high: float | None = None) -> Column:
    return Column(name, unit, headers, low=low, high=high)


def _rate(name: str, unit: str, *headers: str) -> Column:
    return Column(name, unit, headers, integer=False, may_be_undefined=True)


# Columns in which tools that write flows mean different things: packets of a subflow, windows that were never seen,
# lengths of headers, the first packet of a flow, flags that are counted or only noted, when a flow counts as idle.
DIFFERS: frozenset[str] = frozenset(
    {
        *(f"subflow_{side}_{what}" for side in ("fwd", "bwd") for what in ("packets", "bytes")),
        *("init_win_bytes_fwd", "init_win_bytes_bwd", "fwd_segment_size_min", "down_up_ratio"),
        *("fwd_header_length", "bwd_header_length", "fwd_header_length_repeated"),
        *(f"packet_length_{what}" for what in ("mean", "std", "variance")),
        *("packet_size_mean", "fwd_psh_flags", "bwd_psh_flags", "fwd_urg_flags", "bwd_urg_flags"),
        *(f"{flag}_flag_count" for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "cwr", "ece")),
        *(f"{kind}_{what}" for kind in ("active", "idle") for what in ("mean", "std", "max", "min")),
    }
)

# In the order of the original header. A header is matched with its surrounding spaces stripped.
_FEATURES: tuple[Column, ...] = (
    _count("destination_port", "port", "Destination Port", "Dst Port", high=65535),
    _count("flow_duration", "us", "Flow Duration"),
    _count("total_fwd_packets", "packets", "Total Fwd Packets", "Total Fwd Packet"),
    _count("total_bwd_packets", "packets", "Total Backward Packets", "Total Bwd packets"),
    _count("total_length_fwd_packets", "B", "Total Length of Fwd Packets", "Total Length of Fwd Packet"),
    _count("total_length_bwd_packets", "B", "Total Length of Bwd Packets", "Total Length of Bwd Packet"),
    _count("fwd_packet_length_max", "B", "Fwd Packet Length Max"),
    _count("fwd_packet_length_min", "B", "Fwd Packet Length Min"),
    _real("fwd_packet_length_mean", "B", "Fwd Packet Length Mean"),
    _real("fwd_packet_length_std", "B", "Fwd Packet Length Std"),
    _count("bwd_packet_length_max", "B", "Bwd Packet Length Max"),
    _count("bwd_packet_length_min", "B", "Bwd Packet Length Min"),
    _real("bwd_packet_length_mean", "B", "Bwd Packet Length Mean"),
    _real("bwd_packet_length_std", "B", "Bwd Packet Length Std"),
    _rate("flow_bytes_per_s", "B/s", "Flow Bytes/s"),
    _rate("flow_packets_per_s", "1/s", "Flow Packets/s"),
    _real("flow_iat_mean", "us", "Flow IAT Mean"),
    _real("flow_iat_std", "us", "Flow IAT Std"),
    _count("flow_iat_max", "us", "Flow IAT Max"),
    _count("flow_iat_min", "us", "Flow IAT Min"),
    _count("fwd_iat_total", "us", "Fwd IAT Total"),
    _real("fwd_iat_mean", "us", "Fwd IAT Mean"),
    _real("fwd_iat_std", "us", "Fwd IAT Std"),
    _count("fwd_iat_max", "us", "Fwd IAT Max"),
    _count("fwd_iat_min", "us", "Fwd IAT Min"),
    _count("bwd_iat_total", "us", "Bwd IAT Total"),
    _real("bwd_iat_mean", "us", "Bwd IAT Mean"),
    _real("bwd_iat_std", "us", "Bwd IAT Std"),
    _count("bwd_iat_max", "us", "Bwd IAT Max"),
    _count("bwd_iat_min", "us", "Bwd IAT Min"),
    _count("fwd_psh_flags", "flags", "Fwd PSH Flags"),
    _count("bwd_psh_flags", "flags", "Bwd PSH Flags"),
    _count("fwd_urg_flags", "flags", "Fwd URG Flags"),
    _count("bwd_urg_flags", "flags", "Bwd URG Flags"),
    _count("fwd_header_length", "B", "Fwd Header Length"),
    _count("bwd_header_length", "B", "Bwd Header Length"),
    _rate("fwd_packets_per_s", "1/s", "Fwd Packets/s"),
    _rate("bwd_packets_per_s", "1/s", "Bwd Packets/s"),
    _count("packet_length_min", "B", "Min Packet Length", "Packet Length Min"),
    _count("packet_length_max", "B", "Max Packet Length", "Packet Length Max"),
    _real("packet_length_mean", "B", "Packet Length Mean"),
    _real("packet_length_std", "B", "Packet Length Std"),
    _real("packet_length_variance", "B^2", "Packet Length Variance"),
    _count("fin_flag_count", "flags", "FIN Flag Count"),
    _count("syn_flag_count", "flags", "SYN Flag Count"),
    _count("rst_flag_count", "flags", "RST Flag Count"),
    _count("psh_flag_count", "flags", "PSH Flag Count"),
    _count("ack_flag_count", "flags", "ACK Flag Count"),
    _count("urg_flag_count", "flags", "URG Flag Count"),
    _count("cwr_flag_count", "flags", "CWE Flag Count", "CWR Flag Count"),
    _count("ece_flag_count", "flags", "ECE Flag Count"),
    _real("down_up_ratio", "1", "Down/Up Ratio"),
    _real("packet_size_mean", "B", "Average Packet Size"),
    _real("fwd_segment_size_mean", "B", "Avg Fwd Segment Size", "Fwd Segment Size Avg"),
    _real("bwd_segment_size_mean", "B", "Avg Bwd Segment Size", "Bwd Segment Size Avg"),
    # The original extractor writes this column twice under one name; the corrected one writes it once.
    _count("fwd_header_length_repeated", "B", "Fwd Header Length.1"),
    _real("fwd_bulk_bytes_mean", "B", "Fwd Avg Bytes/Bulk", "Fwd Bytes/Bulk Avg"),
    _real("fwd_bulk_packets_mean", "packets", "Fwd Avg Packets/Bulk", "Fwd Packet/Bulk Avg"),
    _real("fwd_bulk_rate_mean", "B/s", "Fwd Avg Bulk Rate", "Fwd Bulk Rate Avg"),
    _real("bwd_bulk_bytes_mean", "B", "Bwd Avg Bytes/Bulk", "Bwd Bytes/Bulk Avg"),
    _real("bwd_bulk_packets_mean", "packets", "Bwd Avg Packets/Bulk", "Bwd Packet/Bulk Avg"),
    _real("bwd_bulk_rate_mean", "B/s", "Bwd Avg Bulk Rate", "Bwd Bulk Rate Avg"),
    _count("subflow_fwd_packets", "packets", "Subflow Fwd Packets"),
    _count("subflow_fwd_bytes", "B", "Subflow Fwd Bytes"),
    _count("subflow_bwd_packets", "packets", "Subflow Bwd Packets"),
    _count("subflow_bwd_bytes", "B", "Subflow Bwd Bytes"),
    _count("init_win_bytes_fwd", "B", "Init_Win_bytes_forward", "FWD Init Win Bytes", low=-1, high=65535),
    _count("init_win_bytes_bwd", "B", "Init_Win_bytes_backward", "Bwd Init Win Bytes", low=-1, high=65535),
    _count("fwd_data_packets", "packets", "act_data_pkt_fwd", "Fwd Act Data Pkts"),
    _count("fwd_segment_size_min", "B", "min_seg_size_forward", "Fwd Seg Size Min"),
    _real("active_mean", "us", "Active Mean"),
    _real("active_std", "us", "Active Std"),
    _count("active_max", "us", "Active Max"),
    _count("active_min", "us", "Active Min"),
    _real("idle_mean", "us", "Idle Mean"),
    _real("idle_std", "us", "Idle Std"),
    _count("idle_max", "us", "Idle Max"),
    _count("idle_min", "us", "Idle Min"),
)

FEATURES: tuple[Column, ...] = tuple(replace(column, differs=column.name in DIFFERS) for column in _FEATURES)
FEATURE_NAMES: tuple[str, ...] = tuple(column.name for column in FEATURES)

# What every record has beside its features. Those marked None-able are null if the source does not have them.
PROVENANCE: tuple[str, ...] = (
    "record_id",  # uint64: derived from content and position, stable over runs
    "source_file",  # str
    "row",  # int64: 1 for the first row below the header
    "y",  # int8: 1 for an attack
    "attack",  # str: canonical name, `benign` where y is 0
    "family",  # str
    "attempted",  # bool, None-able: the attack reached nothing (corrected version only)
    "day",  # str, None-able: monday ... friday
    "timestamp",  # timestamp[us], None-able
    "protocol",  # int16, None-able: IANA number
    "flow_id",  # str, None-able
    "src_ip",  # str, None-able: address of the side that began
    "src_port",  # int32, None-able
    "dst_ip",  # str, None-able
    "dst_port",  # int32, None-able
)

# The part that says who talked to whom, and when: it travels with each record to its verdict. It is never a feature.
ENDPOINTS: tuple[str, ...] = ("timestamp", "protocol", "src_ip", "src_port", "dst_ip", "dst_port", "flow_id")

# The part that is known before a record is scored, so that records may be grouped by it.
GROUPABLE: tuple[str, ...] = ("day", "protocol")

# The name of a record whose label says nothing. Every stage behind ingest counts it as benign.
UNLABELLED = "unlabelled"
NO_ATTACK: tuple[str, ...] = ("benign", UNLABELLED)

# canonical attack -> (family, the spellings of the published files; case, spaces and dashes do not count)
ATTACKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "benign": ("benign", ("BENIGN",)),
    "attack": ("attack", ("1", "true", "attack", "malicious", "anomaly")),  # a label that names no attack
    "ftp_patator": ("brute_force", ("FTP-Patator",)),
    "ssh_patator": ("brute_force", ("SSH-Patator",)),
    "ddos": ("ddos", ("DDoS", "DDoS LOIT")),
    "port_scan": ("port_scan", ("PortScan",)),
    "infiltration_port_scan": ("port_scan", ("Infiltration - Portscan", "Infiltration - NMAP Portscan")),
    "dos_hulk": ("dos", ("DoS Hulk", "DoS attacks-Hulk")),
    "dos_goldeneye": ("dos", ("DoS GoldenEye", "DoS attacks-GoldenEye")),
    "dos_slowloris": ("dos", ("DoS slowloris", "DoS attacks-Slowloris")),
    "dos_slowhttptest": ("dos", ("DoS Slowhttptest", "DoS attacks-SlowHTTPTest")),
    "heartbleed": ("heartbleed", ("Heartbleed",)),
    "bot": ("bot", ("Bot", "Botnet", "Botnet ARES")),
    "infiltration": ("infiltration", ("Infiltration", "Infilteration")),
    "web_brute_force": ("web", ("Web Attack - Brute Force", "Brute Force -Web")),
    "web_xss": ("web", ("Web Attack - XSS", "Brute Force -XSS")),
    "web_sql_injection": ("web", ("Web Attack - Sql Injection", "Web Attack - SQL", "SQL Injection")),
    # CSE-CIC-IDS2018 (Sharafaldin, Lashkari, Ghorbani, 2018): further names, and those above in other words.
    "ftp_brute_force": ("brute_force", ("FTP-BruteForce",)),
    "ssh_brute_force": ("brute_force", ("SSH-BruteForce",)),
    "ddos_loic_http": ("ddos", ("DDoS-LOIC-HTTP", "DDoS attacks-LOIC-HTTP")),
    "ddos_loic_udp": ("ddos", ("DDoS-LOIC-UDP", "DDOS attack-LOIC-UDP")),
    "ddos_hoic": ("ddos", ("DDoS-HOIC", "DDOS attack-HOIC")),
    "infiltration_dropbox_download": ("infiltration", ("Infiltration - Dropbox Download",)),
    "infiltration_communication": ("infiltration", ("Infiltration - Communication Victim Attacker",)),
    # CIC-DDoS2019 (Sharafaldin, Lashkari, Hakak, Ghorbani, "Developing Realistic Distributed Denial of Service (DDoS)
    # Attack Dataset and Taxonomy", ICCST 2019). The second day spells the reflected floods without DrDoS.
    "ddos_dns": ("ddos", ("DrDoS_DNS",)),
    "ddos_ldap": ("ddos", ("DrDoS_LDAP", "LDAP")),
    "ddos_mssql": ("ddos", ("DrDoS_MSSQL", "MSSQL")),
    "ddos_netbios": ("ddos", ("DrDoS_NetBIOS", "NetBIOS")),
    "ddos_ntp": ("ddos", ("DrDoS_NTP",)),
    "ddos_portmap": ("ddos", ("Portmap", "DrDoS_Portmap")),
    "ddos_snmp": ("ddos", ("DrDoS_SNMP",)),
    "ddos_ssdp": ("ddos", ("DrDoS_SSDP",)),
    "ddos_syn": ("ddos", ("Syn", "DrDoS_Syn")),
    "ddos_tftp": ("ddos", ("TFTP", "DrDoS_TFTP")),
    "ddos_udp": ("ddos", ("DrDoS_UDP", "UDP")),
    "ddos_udp_lag": ("ddos", ("UDP-lag",)),
    "ddos_web": ("ddos", ("WebDDoS",)),
}
