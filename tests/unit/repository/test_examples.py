"""The examples in the documents can be typed as they are: commands, flags, targets and Python.

A block after `<!-- not run: reason -->` is left out.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Final, NamedTuple

import pytest
import typer
from shortlist.cli.__main__ import parser as shortlist_parser
from shortlist.cli.checkout import COMMANDS as CHECKOUT_COMMANDS

from benchmarks.__main__ import BENCHMARKS
from common.server.settings import flag_name
from pipeline.__main__ import app
from services.gateway.settings import Settings as GatewaySettings
from services.program import LocalSettings
from services.ranking.settings import Settings as RankingSettings
from services.retrieval.settings import Settings as RetrievalSettings
from services.token import TokenSettings

TOP: Final = Path(__file__).parents[3]
DOCUMENTS: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(str(file.relative_to(TOP)) for file in (TOP / "docs").rglob("*.md")),
)
BLOCK: Final = re.compile(
    r"(?P<marker><!-- not run: \S.*? -->\n\s*)?^(?P<indent> *)```(?P<language>python|console)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
SETTINGS: Final = {
    "services": LocalSettings,
    "services.gateway": GatewaySettings,
    "services.ranking": RankingSettings,
    "services.retrieval": RetrievalSettings,
    "services.token": TokenSettings,
}
# Programs of others, whose flags are theirs. A program that is in neither list is a typing error.
OTHER_PROGRAMS: Final = frozenset(
    {"curl", "docker", "git", "grpcurl", "helm", "kubectl", "locust", "openssl", "pip", "podman", "redis-server"}
)
BENCHMARK_FLAGS: Final = frozenset({"--quick", "--check", "--help"})


class Block(NamedTuple):
    """A block of code of a document."""

    document: str
    line: int
    language: str
    code: str


def _blocks(document: str) -> Iterator[Block]:
    text = (TOP / document).read_text()
    for match in BLOCK.finditer(text):
        if match["marker"] is None:
            line = text.count("\n", 0, match.start("code")) + 1
            yield Block(document, line, match["language"], dedent(match["code"]))


BLOCKS: Final = tuple(block for document in DOCUMENTS for block in _blocks(document))


def _commands(code: str) -> Iterator[list[str]]:
    """Return the words of each command after `$ `: continued lines joined, pipes and lists of commands split."""
    for line in re.sub(r"\\\n\s*", "", code).splitlines():
        if line.startswith("$ "):
            yield from _words(line.removeprefix("$ "))


def _words(line: str) -> Iterator[list[str]]:
    for inner in re.findall(r"\$\(([^)]*)\)", line):
        yield from _words(inner)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;"):
            command.append(word)
            continue
        while command and re.match(r"[A-Z_0-9]+=", command[0]):  # variables of the environment
            del command[0]
        if command:
            yield command
        command = []


def _faults(words: list[str]) -> list[str]:
    """Return what does not exist of a command."""
    program, rest = Path(words[0]).name, words[1:]
    if program == "make":
        return _make_faults(rest)
    if program == "shortlist":
        return _shortlist_faults(rest)
    if program in {"python", "python3"} and rest[:1] == ["-m"]:
        return _module_faults(rest[1], rest[2:])
    if program == "python":
        return [] if (TOP / rest[0]).is_file() else [f"no file {rest[0]}"]
    return [] if program in OTHER_PROGRAMS or program in {"eval", "cd"} else [f"unknown program {program}"]


def _make_faults(words: list[str]) -> list[str]:
    makefile = (TOP / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    load = re.search(r"^LOAD := (.*)$", makefile, re.MULTILINE)
    assert load is not None
    # build.sh of `make images` reads its variables from the environment.
    images = re.findall(r"\$\{(\w+)", (TOP / "deploy" / "images" / "build.sh").read_text())
    variables = {*re.findall(r"\$\((?:or \$\()?([A-Z_]+)\b", makefile), *load[1].split(), *images}
    named = {word.partition("=")[0] for word in words if "=" in word}
    called = {word for word in words if "=" not in word}
    return [f"no target {name}" for name in called - targets] + [f"no variable {name}" for name in named - variables]


def _shortlist_faults(words: list[str]) -> list[str]:
    if words and words[0] in CHECKOUT_COMMANDS:
        name, rest = words[0], words[1:]
        return _module_faults("services", rest) if name == "serve" else _module_faults("pipeline", [name, *rest])
    return _parser_faults(shortlist_parser(), words)


def _parser_faults(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    known = set(parser._option_string_actions)
    for place, word in enumerate(words):
        choices = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), None)
        if choices is not None and not word.startswith("-"):
            if word not in choices:
                return [f"no command {word}"]
            return [*_unknown(words[:place], known), *_parser_faults(choices[word], words[place + 1 :])]
    return _unknown(words, known)


def _module_faults(module: str, words: list[str]) -> list[str]:
    if module in SETTINGS:
        return _unknown(words, {*map(flag_name, SETTINGS[module].model_fields), "--help"})
    if module == "pipeline":
        options = _pipeline_options()
        if not words or words[0] not in options:
            return [f"no command {words[:1]} of the pipeline"] if words != ["--help"] else []
        return _unknown(words[1:], options[words[0]])
    if module == "benchmarks":
        names = {word for word in words if not word.startswith("-")}
        return [f"no benchmark {name}" for name in names - set(BENCHMARKS)] + _unknown(words, BENCHMARK_FLAGS)
    return [] if module in {"pytest", "pip"} else [f"unknown module {module}"]


@cache
def _pipeline_options() -> dict[str, frozenset[str]]:
    group = typer.main.get_command(app)
    return {
        name: frozenset({"--help"}.union(*([*param.opts, *param.secondary_opts] for param in command.params)))
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def _unknown(words: list[str], known: set[str] | frozenset[str]) -> list[str]:
    flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"no flag {flag}" for flag in flags if flag not in known]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_compile(document: str):
    """Python in a document is Python."""
    for block in BLOCKS:
        if block.document == document and block.language == "python":
            compile(block.code, f"{document}:{block.line}", "exec")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_with_their_flags(document: str):
    """Programs, commands, flags, targets and variables of `console` blocks exist."""
    faults = [
        f"{document}:{block.line}: {' '.join(words)}: {fault}"
        for block in BLOCKS
        if block.document == document and block.language == "console"
        for words in _commands(block.code)
        for fault in _faults(words)
    ]
    assert not faults


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("make serv", "no target serv"),
        ("make serve RELEAS=x", "no variable RELEAS"),
        ("shortlist recomend", "no command recomend"),
        ("shortlist recommend --qery x", "no flag --qery"),
        ("shortlist build --dta x", "no flag --dta"),
        ("SHORTLIST_X=1 python -m pipeline build --dta x", "no flag --dta"),
        ("python -m services.gateway --port 1 --prt 2", "no flag --prt"),
        ("python -m benchmarks nothing --quick", "no benchmark nothing"),
        ("true && mak serve", "unknown program mak"),
        ('eval "$(shortlist completed bash)"', "no command completed"),
    ],
)
def test_faults_are_found(line: str, fault: str):
    """Each kind of mistake in a command is found."""
    assert fault in [found for words in _words(line) for found in _faults(words)]


def test_every_document_can_be_found():
    """A document is linked in the README or is a page of the site's navigation."""
    readme = set(re.findall(r"\]\((docs/[\w/.-]+\.md)", (TOP / "README.md").read_text()))
    site = {f"docs/{page}" for page in re.findall(r": ([\w/.-]+\.md)$", (TOP / "mkdocs.yml").read_text(), re.MULTILINE)}
    documents = {str(file.relative_to(TOP)) for file in (TOP / "docs").rglob("*.md")}
    assert not sorted(documents - readme - site), "list it in mkdocs.yml"
    generated = {"docs/index.md", "docs/contributing.md", "docs/changelog.md"}  # of deploy/site/pages.py
    assert not sorted(site - documents - generated), "the navigation of mkdocs.yml names a page that does not exist"
