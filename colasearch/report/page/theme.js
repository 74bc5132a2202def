// Light or dark: as the system says, until the reader chooses.

const system = window.matchMedia("(prefers-color-scheme: dark)");
const KEPT = "colasearch-theme";
function keptTheme() { try { return localStorage.getItem(KEPT); } catch { return null; } } // files may have no storage
let theme = ["light", "dark"].includes(keptTheme()) ? keptTheme() : null;

const themeButton = h("button", { type: "button", class: "theme", click: () => {
  theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem(KEPT, theme); } catch { /* the choice holds for this visit */ }
  applyTheme();
} });
function applyTheme() {
  const dark = theme ? theme === "dark" : system.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  themeButton.textContent = dark ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", dark ? "Show the page in light colours" : "Show the page in dark colours");
}
system.addEventListener("change", applyTheme);
applyTheme();
document.body.append(themeButton);
