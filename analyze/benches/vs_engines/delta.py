"""Reads the logs of small Delta tables: enough to know which files a commit added."""

import json
import urllib.parse


def commits(table):
    """The actions of every commit, in order."""
    for path in sorted((table / "_delta_log").glob("[0-9]*.json")):
        yield int(path.stem), [json.loads(line) for line in path.read_text().splitlines() if line]


def files(table):
    """Data files of the newest version."""
    live = {}
    for _, actions in commits(table):
        for action in actions:
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
        for action in actions:
            if "add" in action:
                live[action["add"]["path"]] = action["add"]["size"]
    return [table / urllib.parse.unquote(path) for path in live]


def version(table):
    """Its newest version."""
    return max((number for number, _ in commits(table)), default=-1)


def added_bytes(table, after):
    """Size of the data files that commits after a version added."""
    adds = (action["add"] for number, actions in commits(table) if number > after for action in actions if "add" in action)
    return sum(add["size"] for add in adds)
