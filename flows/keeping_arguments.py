"""What the programs take that keep a project: keys, people, copies, and what is old."""

import argparse
from typing import Final

ROLES: Final = ("reader", "trainer")  # of tracking.people


def keys(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``keys``."""
    parser.description = "Who signs models and promotions, and whose signatures count here."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="show the keys that are trusted here")
    init = actions.add_parser("init", help="make a key, if there is none here, and trust it")
    init.add_argument("--name", default="", help="what people call it; without it, the names of the user and the host")
    init.add_argument("--models-only", action="store_true", help="a new key signs models and no promotions")
    retire = actions.add_parser("retire", help="let nothing count that a key signs from now on")
    retire.add_argument("keyid", metavar="KEYID", help="the key, or the first 8 digits of it or more")
    adopt = actions.add_parser("adopt", help="sign a champion from before, if the log of promotions knows its bundle")
    adopt.add_argument("version", metavar="VERSION", help="an alias or a number")


def verify(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``verify``."""
    parser.description = "Is a version what was signed, and may it serve?"
    parser.add_argument("version", nargs="?", default="champion", help="an alias or a number, champion if left out")


def reproduce(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``reproduce``."""
    parser.description = "Make a version again in a second clone, from what is stored of it, and compare the digests."
    parser.add_argument("version", nargs="?", default="champion", help="an alias or a number, champion if left out")
    parser.add_argument("--rerun", action="store_true", help="run every stage; pull the input, and no output")
    parser.add_argument("--push", action="store_true", help="send what others need to DVC's remote; make nothing")
    parser.add_argument("--other-libraries", action="store_true", help="try it with other versions of libraries")


def prune(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``prune``."""
    parser.description = "Say what is older, or more, than the section retention of params.yaml keeps, and how large."
    parser.add_argument("--apply", action="store_true", help="remove it")
    parser.add_argument("--list", action="store_true", help="name each thing")


def people(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``people``."""
    parser.description = "Who may use the MLflow server besides the project itself."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="let somebody in, or give somebody another role")
    add.add_argument("name", metavar="NAME", help="to log in with")
    add.add_argument("--role", choices=ROLES, default=ROLES[0], help="what they may do; reader if left out")
    remove = actions.add_parser("remove", help="let somebody in no more")
    remove.add_argument("name", metavar="NAME", help="that they log in with")


def automations(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``automations``."""
    parser.description = "Notifications of failed runs, silence of a model, drift, quarantine and refusals."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "apply", help="put the notifications of params.yaml on the Prefect server; twice changes nothing"
    )
    test = actions.add_parser("test", help="send a test through each channel, by way of the server")
    test.add_argument("--seconds", type=float, default=60.0, help="that it may take")
    actions.add_parser("remove", help="take them off the server")


def doctor(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``doctor``."""
    parser.description = "Say what keeps the project from running here, and what to do about it."
    mend = parser.add_mutually_exclusive_group()
    mend.add_argument(
        "--rebuild", action="store_true", help="make a lost registry again, from the log and what is kept here"
    )
    mend.add_argument(
        "--relocate", action="store_true", help="after the project was moved: let its store name the new folder"
    )


def backup(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``backup``."""
    parser.description = "Copy what cannot be made again into a new folder: stores, models, logs, labels."
    parser.add_argument("folder", metavar="FOLDER", help="a new one")
    parser.add_argument("--with-keys", action="store_true", help="copy private keys and secrets of servers as well")


def restore(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``restore``."""
    parser.description = "Put a backup into this project."
    parser.add_argument("folder", metavar="FOLDER", help="a backup")
    parser.add_argument("--replace", action="store_true", help="put aside what is there already")
