"""Label text -> canonical attack, whatever its case, spaces and dashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.labels import UNLABELLED, canonical, family
from pipeline.datasets.schema import ATTACKS

SPELLINGS = [(spelling, attack) for attack, (_, spellings) in ATTACKS.items() for spelling in spellings]
DASHES = ["-", "\N{EN DASH}", "\N{EM DASH}", "\x96", "\N{REPLACEMENT CHARACTER}", "\xef\xbf\xbd", "?", ""]


@pytest.mark.parametrize(("spelling", "attack"), SPELLINGS)
def test_every_published_spelling_is_known(spelling, attack):
    assert canonical(spelling) == (attack, ATTACKS[attack][0], False)
    assert canonical(attack).attack == attack
    assert canonical(spelling, "keep").attack == attack


@given(
    known=st.sampled_from(SPELLINGS),
    dash=st.sampled_from(DASHES),
    change=st.sampled_from([str.upper, str.lower, str.title, str]),
    space=st.sampled_from(["", " ", "  ", "\t"]),
    attempted=st.booleans(),
)
def test_case_spaces_and_dashes_do_not_count(known, dash, change, space, attempted):
    spelling, attack = known
    text = space + change(spelling.replace("-", dash)) + (" - Attempted" if attempted else "") + space
    assert canonical(text) == (attack, ATTACKS[attack][0], attempted)


def test_no_two_attacks_share_a_spelling():
    keys = ["".join(filter(str.isalnum, spelling.lower())) for spelling, _ in SPELLINGS]
    assert len(keys) == len(set(keys))


def test_published_pairs_that_look_alike_are_told_apart():
    assert canonical("PortScan").attack == "port_scan"
    assert canonical("Infiltration - Portscan").attack == "infiltration_port_scan"
    assert canonical("DoS Slowloris").attack == "dos_slowloris"
    assert canonical("Botnet - Attempted") == ("bot", "bot", True)


@pytest.mark.parametrize(
    ("text", "near"), [("DoS Hulkk", "DoS Hulk"), ("BENING", "BENIGN"), ("Heart bleet", "Heartbleed")]
)
def test_an_unknown_label_offers_the_nearest(text, near):
    with pytest.raises(ValueError, match=f"unknown label '{text}' \\(did you mean '{near}'\\?\\)"):
        canonical(text)


NOTHING = [
    "",
    " ",
    "---",
    "-",
    "?",
    "\x96",
    "nan",
    "NaN",
    "N/A",
    "NULL",
    "None",
    "NeedManualLabel",
    "No Label",
    "no_label",
]
NOTHING += ["Unlabelled", "unlabeled", "UNKNOWN", "need manual label", "Not Labelled"]


@pytest.mark.parametrize("text", NOTHING)
@pytest.mark.parametrize("unknown", ["refuse", "keep"])
def test_a_label_that_says_nothing_is_neither_benign_nor_an_attack(text, unknown):
    assert canonical(text, unknown) == UNLABELLED


@pytest.mark.parametrize(
    "text", ["BENIGN", " BENIGN", "Normal", "benign ", "BenignTraffic", "Benign_Traffic", "0", "0.0", "False"]
)
@pytest.mark.parametrize("unknown", ["refuse", "keep"])
def test_usual_words_for_benign_are_known(text, unknown):
    assert canonical(text, unknown) == ("benign", "benign", False)


@pytest.mark.parametrize("text", ["1", "1.0", "True", "Attack", "malicious"])
def test_a_label_may_say_attack_and_no_more(text):
    assert canonical(text) == ("attack", "attack", False)


def test_words_may_be_named():
    assert canonical("Background", benign=("background",)).attack == "benign"
    assert canonical("to do", unlabelled=("TO-DO",)) == UNLABELLED
    with pytest.raises(ValueError, match="unknown label 'Normal'"):
        canonical("Normal", benign=("background",))


@pytest.mark.parametrize(
    ("text", "attack", "family"),
    [
        ("DrDoS_NTP", "ddos_ntp", "ddos"),
        ("UDPLag", "ddos_udp_lag", "ddos"),
        ("Syn", "ddos_syn", "ddos"),
        ("Infilteration", "infiltration", "infiltration"),
        ("Brute Force -Web", "web_brute_force", "web"),
        ("SQL Injection", "web_sql_injection", "web"),
        ("DDOS attack-HOIC", "ddos_hoic", "ddos"),
        ("SSH-Bruteforce", "ssh_brute_force", "brute_force"),
    ],
)
def test_later_captures_spell_their_attacks_in_their_own_way(text, attack, family):
    assert canonical(text) == (attack, family, False)


def test_a_kept_label_is_an_attack_and_a_family_of_its_own():
    assert canonical("My  New-Attack (v2) - Attempted", "keep") == ("my_new_attack_v2", "my_new_attack_v2", True)
    assert family("my_new_attack_v2") == "my_new_attack_v2"
    assert family("dos_hulk") == "dos"
