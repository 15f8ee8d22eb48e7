"""Checks that the template gives each function exactly the environment variables that it reads
according to shared/domain/src/config.rs, where docstrings start with the stages: `split, cleanup: ...`."""

import pathlib
import re
import sys

from samcli.yamlhelper import yaml_parse

STAGES = ["split", "submit", "enrich", "report", "cleanup", "api"]


def declared(source: str) -> dict[str, set[str]]:
    """The variables of each stage."""
    found = {stage: set() for stage in STAGES}
    text = ""
    for line in source.splitlines():
        if line.startswith("///"):
            text += line[3:].strip() + " "
            continue
        name = re.match(r"pub const (ROWMILL_\w+): &str", line)
        readers = re.match(r"([\w, ]+):", text)
        elsewhere = re.search("set by (submit|report) on the job", text) or "on one machine:" in text
        if name and readers and not elsewhere:
            for stage in readers[1].split(", "):
                for each in STAGES if stage == "All" else [stage]:
                    if each in found:
                        found[each].add(name[1])
        text = ""
    return found


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    template = yaml_parse((root / "template.yaml").read_text(encoding="utf-8"))
    wanted = declared((root / "shared/domain/src/config.rs").read_text(encoding="utf-8"))
    common = set(template["Globals"]["Function"]["Environment"]["Variables"])
    wrong = []
    for stage in STAGES:
        function = template["Resources"][f"{stage.capitalize()}Function"]["Properties"]
        given = common | set(function.get("Environment", {}).get("Variables", {}))
        wrong += [f"{stage}: {name} is read and not set" for name in sorted(wanted[stage] - given)]
        wrong += [f"{stage}: {name} is set and not read" for name in sorted(given - wanted[stage])]
    variables = sum(len(names) for names in wanted.values())
    print("\n".join(wrong) if wrong else f"{len(STAGES)} functions, {variables} variables as declared")
    return 1 if wrong or variables < 20 else 0


sys.exit(main())
