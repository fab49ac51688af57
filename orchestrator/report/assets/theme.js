// The reader's theme, until the page is closed: an artifact in MLflow's frame may store nothing.
const night = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : night.matches;
}

function offerTheme() {
  const button = document.querySelector(".theme");
  const say = () => { button.textContent = `Switch to ${isDark() ? "light" : "dark"} theme`; };
  const changed = () => { say(); document.dispatchEvent(new Event("theme")); };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    changed();
  });
  night.addEventListener("change", changed);
  say();
  button.hidden = false;
}

offerTheme();
