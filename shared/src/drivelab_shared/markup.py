"""Text for pages: escaped, with `code`, **bold**, paragraphs and bullets; and tables in Markdown.

Names of files and data reach these pages, so everything is escaped: what looks like HTML or a link is only shown.
"""

import html
import re
from collections.abc import Sequence

_INLINE = re.compile(r"(`[^`\n]+`|\*\*[^*\n]+\*\*)")
_FIGURE = re.compile(r"[-+–]?[\d,.]*(e[-+]?\d+)?( ?[%x×])?( \[.*\])?")


def is_figure(cell: str) -> bool:
    """Whether a cell is a number, perhaps with an interval; such columns are aligned on the right."""
    return _FIGURE.fullmatch(cell) is not None


def inline_html(text: str) -> str:
    """One line of text as HTML."""
    return "".join(_inline_html(piece) for piece in _INLINE.split(text))


def _inline_html(piece: str) -> str:
    if _INLINE.fullmatch(piece):
        width, tag = (1, "code") if piece[0] == "`" else (2, "strong")
        return f"<{tag}>{html.escape(piece[width:-width])}</{tag}>"
    return html.escape(piece)


def inline_markdown(text: str) -> str:
    """One line of text as Markdown: `code` and **bold** stay, everything else is literal."""
    return "".join(_inline_markdown(piece) for piece in _INLINE.split(" ".join(text.split())))


def _inline_markdown(piece: str) -> str:
    if not _INLINE.fullmatch(piece):
        return escape_markdown(piece)
    return piece if piece[0] == "`" else f"**{escape_markdown(piece[2:-2])}**"


def escape_markdown(text: str) -> str:
    """`text` on one line, literally. Underscores inside words mean nothing to Markdown and stay readable."""
    text = re.sub(r"[\\`*|]", r"\\\g<0>", re.sub(r"[\r\n]+", " ", text)).replace("<", "&lt;").replace("](", "]\\(")
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(r"^(\s*)([#>])", r"\1\\\2", text)


def blocks(text: str) -> list[str | list[str]]:
    """Paragraphs, and lists of bullets: blocks of lines that all start with `- `."""
    found: list[str | list[str]] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        bullets = all(line.startswith("- ") for line in lines)
        found.append([line[2:] for line in lines] if bullets else " ".join(lines))
    return found


def text_html(text: str) -> str:
    """Paragraphs and bullets as HTML."""
    return "\n".join(bullets_html(b) if isinstance(b, list) else f"<p>{inline_html(b)}</p>" for b in blocks(text))


def bullets_html(items: Sequence[str]) -> str:
    """A list as HTML."""
    return "<ul>" + "".join(f"<li>{inline_html(item)}</li>" for item in items) + "</ul>"


def text_markdown(text: str) -> str:
    """Paragraphs and bullets as Markdown."""
    return "\n\n".join(bullets_markdown(b) if isinstance(b, list) else inline_markdown(b) for b in blocks(text))


def bullets_markdown(items: Sequence[str]) -> str:
    """A list as Markdown."""
    return "\n".join(f"- {inline_markdown(item)}" for item in items)


def origin_markdown(command: str, line: str) -> str:
    """The command that made something, ready to be copied, above one line on where and when."""
    return f"```sh\n{' '.join(command.split())}\n```\n{escape_markdown(line)}"


def table_html(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table as HTML, figures aligned on the right and their intervals apart from them."""
    classes = [' class="number"' if is_number else "" for is_number in _number_columns(header, body)]
    head = "".join(f'<th scope="col"{c}>{html.escape(cell)}</th>' for c, cell in zip(classes, header, strict=True))
    lines = []
    for name, *cells in body:
        lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{"".join(map(_cell_html, cells))}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _number_columns(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold nothing but figures; the first one names the rows."""
    return [index > 0 and all(is_figure(line[index]) for line in body) for index in range(len(header))]


def _cell_html(cell: str) -> str:
    if not is_figure(cell):
        return f"<td>{html.escape(cell)}</td>"
    value, space, interval = html.escape(cell).partition(" [")
    if not space:
        return f'<td class="number">{value}</td>'
    return f'<td class="number">{value} <span class="interval">[{interval}</span></td>'


def table_markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, figures aligned on the right."""
    rule = ["---:" if is_number else "---" for is_number in _number_columns(header, body)]
    rows = [[escape_markdown(cell) for cell in row] for row in (header, *body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))
