"""What axe-core finds on a page: the rules of WCAG 2 and of good practice, as a browser sees them."""

from __future__ import annotations

from importlib.resources import files

from tests.stream.web.browser import Page

SERIOUS = ("serious", "critical")
RUN = """axe.run(document, { resultTypes: ["violations"] }).then(said => said.violations.map(each =>
  ({ rule: each.id, impact: each.impact, where: each.nodes.map(node => node.html.slice(0, 160)) })))"""


async def findings(page: Page) -> list[str]:
    """What is serious or critical, with where. The page's policy does not hold for what a debugger runs."""
    if not await page.value("typeof axe === 'object'"):
        await page.value(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; 1")
    found = await page.value(RUN)
    assert found is not None, f"axe did not run: {page.faults}"
    return [f"{each['rule']} ({each['impact']}): {each['where']}" for each in found if each["impact"] in SERIOUS]
