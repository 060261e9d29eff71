"""``completion``: the commands and options for a shell's completion."""

from __future__ import annotations

import argparse
from typing import Any, Final

_BASH: Final = """_shortlist() {{
  local words
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="{commands}" ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"; fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _shortlist shortlist
"""


def add_commands(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "completion",
        help="print a shell's completion",
        description='bash and zsh: eval "$(shortlist completion bash)"',
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])
    parser.set_defaults(run=_print, commands=commands)


def _print(arguments: argparse.Namespace) -> int:
    parsers: dict[str, argparse.ArgumentParser] = arguments.commands.choices
    if arguments.shell == "fish":
        for name, parser in parsers.items():
            print(f"complete -c shortlist -n __fish_use_subcommand -f -a {name}")
            for word in _words(parser):
                kind = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
                print(f"complete -c shortlist -n '__fish_seen_subcommand_from {name}' {kind}")
        return 0
    cases = "\n".join(f'    {name}) words="{" ".join(_words(parser))}" ;;' for name, parser in parsers.items())
    if arguments.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    print(_BASH.format(cases=cases, commands=" ".join(parsers)))
    return 0


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options and the sub-commands of a command."""
    words = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]  # noqa: SLF001
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            words += list(action.choices)
    return words
