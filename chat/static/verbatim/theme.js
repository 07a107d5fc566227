// Applies the chosen theme before the first paint; a classic script because modules run too late.
(() => {
  try {
    const chosen = localStorage.getItem("verbatim:theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's preference holds.
  }
})();
