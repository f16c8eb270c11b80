"""The week of the capture: which file holds which attacks, when, and how many of each."""

from dataclasses import dataclass, field

Hours = tuple[float, float]  # of the day

WORKING_HOURS: Hours = (9.0, 17.0)
MORNING: Hours = (9.0, 12.0)
AFTERNOON: Hours = (13.0, 17.0)


@dataclass(frozen=True)
class Day:
    """One published file.

    Attributes:
        file: its name.
        hours: when its benign traffic runs.
        benign: benign records in it, in thousands, as published; only the proportions matter.
        attacks: canonical name -> when it runs.
    """

    file: str
    hours: Hours
    benign: float
    attacks: dict[str, Hours] = field(default_factory=dict)


WEEK: tuple[Day, ...] = (
    Day("Monday-WorkingHours.pcap_ISCX.csv", WORKING_HOURS, 530),
    Day(
        "Tuesday-WorkingHours.pcap_ISCX.csv",
        WORKING_HOURS,
        432,
        {"ftp_patator": (9.3, 10.3), "ssh_patator": (14.0, 15.0)},
    ),
    Day(
        "Wednesday-workingHours.pcap_ISCX.csv",
        WORKING_HOURS,
        440,
        {
            "dos_slowloris": (9.8, 10.2),
            "dos_slowhttptest": (10.25, 10.6),
            "dos_hulk": (10.7, 11.0),
            "dos_goldeneye": (11.15, 11.4),
            "heartbleed": (15.2, 15.53),
        },
    ),
    Day(
        "Thursday-WorkingHours-Morning-WebAttacks.pcap_ISCX.csv",
        MORNING,
        168,
        {"web_brute_force": (9.33, 10.0), "web_xss": (10.25, 10.58), "web_sql_injection": (10.66, 10.7)},
    ),
    Day(
        "Thursday-WorkingHours-Afternoon-Infilteration.pcap_ISCX.csv",
        AFTERNOON,
        227,
        {"infiltration": (14.3, 15.75), "infiltration_port_scan": (15.07, 15.75)},
    ),
    Day("Friday-WorkingHours-Morning.pcap_ISCX.csv", MORNING, 189, {"bot": (10.03, 11.03)}),
    Day(
        "Friday-WorkingHours-Afternoon-PortScan.pcap_ISCX.csv",
        AFTERNOON,
        127,
        {"port_scan": (13.92, 15.48)},
    ),
    Day("Friday-WorkingHours-Afternoon-DDos.pcap_ISCX.csv", AFTERNOON, 98, {"ddos": (15.93, 16.27)}),
)

# Records of each attack among 50,000. In the proportions of the original the rare ones would vanish; they are raised.
ATTACKS_PER_50_000: dict[str, int] = {
    "dos_hulk": 3_600,
    "port_scan": 2_500,
    "ddos": 2_050,
    "dos_goldeneye": 500,
    "ftp_patator": 450,
    "ssh_patator": 400,
    "dos_slowloris": 420,
    "dos_slowhttptest": 400,
    "bot": 320,
    "web_brute_force": 200,
    "web_xss": 100,
    "infiltration": 36,
    "web_sql_injection": 24,
    "heartbleed": 12,
}
FEWEST = 5  # records of an attack, however small the whole

# Published without a word: the scan of the infiltration day, as a share of all that is labelled benign.
UNLABELLED = "infiltration_port_scan"
UNLABELLED_SHARE = 0.027

# How the published files spell an attack; the web attacks carry the replacement character of a lost dash.
SPELLINGS: dict[str, str] = {
    "benign": "BENIGN",
    "ftp_patator": "FTP-Patator",
    "ssh_patator": "SSH-Patator",
    "ddos": "DDoS",
    "port_scan": "PortScan",
    "dos_hulk": "DoS Hulk",
    "dos_goldeneye": "DoS GoldenEye",
    "dos_slowloris": "DoS slowloris",
    "dos_slowhttptest": "DoS Slowhttptest",
    "heartbleed": "Heartbleed",
    "bot": "Bot",
    "infiltration": "Infiltration",
    "web_brute_force": "Web Attack \ufffd Brute Force",
    "web_xss": "Web Attack \ufffd XSS",
    "web_sql_injection": "Web Attack \ufffd Sql Injection",
    UNLABELLED: "BENIGN",
}
