// Runs before the first paint: the colours that were chosen here before.
(() => {
  try {
    const theme = localStorage.getItem("ansambl.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* a browser without a store for us: as the system */ }
})();
