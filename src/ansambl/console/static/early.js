// Runs before the first paint: the colours and the language that were chosen here before.
(() => {
  const kept = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const root = document.documentElement;
  const theme = kept("ansambl.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const address = new URL(location.href);
  const language = kept("ansambl.language");
  if (!address.searchParams.has("lang") && (language === "en" || language === "ru") && language !== root.lang) {
    address.searchParams.set("lang", language);
    location.replace(address);
  }
})();
