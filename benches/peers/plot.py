"""How is a group of bars drawn?"""

from html import escape

WIDTH, MARGIN = 760, 16
LABEL, VALUE = 104, 64
BAR, STEP, GROUP_HEAD, GROUP_GAP, TITLE = 14, 19, 24, 12, 52

# The reader's light or dark mode decides, also where the page shows the file as a picture.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .group, .value { fill: #59636e }
  .bar { fill: #a9b4c0 }
  .convert { fill: #d3b27c }
  .weir { fill: #0a69da }
  .strong { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .group, .value { fill: #9198a1 }
    .bar { fill: #56616d }
    .convert { fill: #8a6d3b }
    .weir { fill: #4493f8 }
  }"""
LEGEND = "Weir converts, with heartbeats. Gray passes bytes on; gold converts, written by hand."
CLASSES = {"weir": "weir", "nginx-lua": "convert", "node": "convert"}


def draw(title: str, groups) -> str:
    """Draws horizontal bars on one scale.

    `groups` are pairs of a heading and bars; a bar is its label, its proxy, its length and what is
    written at its end.
    """
    longest = max(bar[2] for _, bars in groups for bar in bars) or 1
    room = WIDTH - 2 * MARGIN - LABEL - VALUE
    parts, y = [text(MARGIN, 22, title, "title"), text(MARGIN, 41, LEGEND, "group")], TITLE
    for heading, bars in groups:
        parts.append(text(MARGIN, y + 15, heading, "group"))
        y += GROUP_HEAD
        for label, peer, value, written in bars:
            strong = " strong" if peer == "weir" else ""
            length = max(room * value / longest, 1)
            parts.append(text(MARGIN + LABEL - 8, y + 11, label, f"label{strong}", "end"))
            parts.append(f'<rect class="{CLASSES.get(peer, "bar")}" x="{MARGIN + LABEL}" y="{y}" '
                         f'width="{length:.1f}" height="{BAR}" rx="2"/>')
            parts.append(text(MARGIN + LABEL + length + 6, y + 11, written, f"value{strong}"))
            y += STEP
        y += GROUP_GAP
    body = "\n".join(f"  {part}" for part in parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
            f'role="img" aria-label="{escape(title)}">\n<style>{STYLE}\n</style>\n{body}\n</svg>\n')


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
