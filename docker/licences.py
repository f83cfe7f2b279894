"""Print every installed package with its version and licence, as a table."""

import importlib.metadata


def licence_of(package: importlib.metadata.Distribution) -> str:
    """The licence that a package's metadata tells."""
    facts = package.metadata
    told = facts.get("License-Expression") or ""
    named = [
        row.rsplit(" :: ", 1)[-1]
        for row in facts.get_all("Classifier", [])
        if row.startswith("License ::")
    ]
    text = (facts.get("License") or "").strip().splitlines()
    return told or ", ".join(named) or (text[0][:80] if text else "not told")


if __name__ == "__main__":
    found = {each.metadata["Name"]: each for each in importlib.metadata.distributions()}
    for name in sorted(found, key=str.lower):
        print(f"{name}\t{found[name].version}\t{licence_of(found[name])}")
