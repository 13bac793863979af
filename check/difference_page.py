"""The page of `crema diff`: one HTML file with the worst cases and their photos in it; it loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } li { margin: .15rem 0; }
article { display: flex; gap: 1.2rem; padding: 1rem 0; border-top: 1px solid #ddd; }
article img { width: 240px; height: 180px; flex: none; background: #fff; border: 1px solid #eee; }
h2 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } dl { margin: 0; }
dt { color: #777; font-size: .85rem; margin-top: .4rem; } dd { margin: 0; }
@media (max-width: 40rem) { article { flex-direction: column; } }
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One photo on the page: a PNG (empty: none could be made), what changed, and both answers in words."""

    photo: str
    picture: bytes
    amount: float
    words: str
    before: str
    after: str


def page(before: str, after: str, facts: Sequence[str], cases: Sequence[Case]) -> str:
    """The HTML text. `before` and `after` are the versions' labels."""
    title = f"{before} → {after}"
    items = "".join(f"<li>{escape(fact)}</li>\n" for fact in facts)
    articles = "".join(_article(before, after, case) for case in cases) or "<p>No answer changed.</p>\n"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<ul>
{items}</ul>
{articles}</html>
"""


def _article(before: str, after: str, case: Case) -> str:
    picture = base64.b64encode(case.picture).decode()
    shown = f'<img src="data:image/png;base64,{picture}" alt="">' if picture else ""
    return f"""<article>{shown}<div>
<h2>{escape(case.photo)}</h2>
<dl><dt>change {case.amount:.2f}</dt><dd>{escape(case.words)}</dd>
<dt>{escape(before)}</dt><dd>{escape(case.before)}</dd>
<dt>{escape(after)}</dt><dd>{escape(case.after)}</dd></dl>
</div></article>
"""
