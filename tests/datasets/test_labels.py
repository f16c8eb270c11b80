"""Label text -> canonical attack, whatever its case, spaces and dashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.labels import canonical, family
from pipeline.datasets.schema import ATTACKS

SPELLINGS = [(spelling, attack) for attack, (_, spellings) in ATTACKS.items() for spelling in spellings]
DASHES = ["-", "\N{EN DASH}", "\N{EM DASH}", "\x96", "\N{REPLACEMENT CHARACTER}", "\xef\xbf\xbd", "?", ""]


@pytest.mark.parametrize(("spelling", "attack"), SPELLINGS)
def test_every_published_spelling_is_known(spelling, attack):
    assert canonical(spelling) == (attack, ATTACKS[attack][0], False)
    assert canonical(attack).attack == attack


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


@pytest.mark.parametrize("text", ["", " ", "---", "\x96"])
@pytest.mark.parametrize("unknown", ["refuse", "keep"])
def test_a_label_without_letters_is_never_an_attack(text, unknown):
    with pytest.raises(ValueError, match="unknown label"):
        canonical(text, unknown)


def test_a_kept_label_is_an_attack_and_a_family_of_its_own():
    assert canonical("My  New-Attack (v2) - Attempted", "keep") == ("my_new_attack_v2", "my_new_attack_v2", True)
    assert family("my_new_attack_v2") == "my_new_attack_v2"
    assert family("dos_hulk") == "dos"
