// Formulas stand in the pages as TeX, between \( \) or \[ \]; nothing is fetched to set them.
for (const formula of document.querySelectorAll(".arithmatex")) {
  katex.render(formula.textContent.trim().slice(2, -2), formula, { displayMode: formula.tagName === "DIV", strict: "error" });
}
