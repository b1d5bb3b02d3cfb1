"""Rules of this project that no linter knows: sizes, names, links, decision pages.

Prints one line per broken rule and exits 1 if there is any.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("src", "tests", "bench", "scripts", "training")
MOST_LINES = 500
FORBIDDEN = re.compile(
    r"(?:^|_)(?:utils?|helpers?|common|managers?|handlers?|services?)(?:_|$)", re.IGNORECASE
)
FORBIDDEN_IN_CLASSES = re.compile(r"(?:Utils?|Helpers?|Common|Managers?|Handlers?|Services?)(?![a-z])")
DECISION = re.compile(r"\d{4}-\d{2}-\d{2}-[a-z0-9]+(?:-[a-z0-9]+)*\.md")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def main() -> int:
    broken = [*sizes_and_names(), *decisions(), *links()]
    for line in broken:
        print(line)
    return 1 if broken else 0


def sizes_and_names() -> Iterator[str]:
    for path in python_files():
        name = path.relative_to(ROOT)
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MOST_LINES:
            yield f"{name}: {lines} lines, the limit is {MOST_LINES}; split it by what it is about"
        for part in (*name.parent.parts, path.stem):
            if FORBIDDEN.search(part):
                yield f'{name}: "{part}" does not say what is inside; name it after the idea'
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and FORBIDDEN_IN_CLASSES.search(node.name):
                yield f"{name}:{node.lineno}: class {node.name}: name it after the idea, not its role"


def python_files() -> Iterator[Path]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).parts
            if not any(part.startswith(".") or part in {"node_modules", "__pycache__"} for part in inside):
                yield path


def decisions() -> Iterator[str]:
    folder = ROOT / "docs" / "decisions"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not DECISION.fullmatch(path.name):
            yield f"{path.relative_to(ROOT)}: decision pages are named YYYY-MM-DD-title.md"


def links() -> Iterator[str]:
    for path in pages():
        prose = CODE_SPAN.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))
        for target in LINK.findall(prose):
            problem = broken_link(path, target)
            if problem:
                yield f"{path.relative_to(ROOT)}: link to {target}: {problem}"


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in PAGES if (ROOT / name).is_file())
    yield from sorted((ROOT / "docs").rglob("*.md"))


def broken_link(page: Path, target: str) -> str | None:
    """Why a link leads nowhere, or None. Links to other sites are not followed."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    file, _, fragment = target.partition("#")
    destination = (page.parent / file).resolve() if file else page
    if not destination.is_relative_to(ROOT):
        return "leads out of the project"
    if not destination.exists():
        return "no such file"
    if fragment and destination.suffix == ".md" and fragment not in anchors(destination):
        return f"no heading #{fragment} there"
    return None


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings as GitHub makes them, without its numbering of doubles."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    sys.exit(main())
