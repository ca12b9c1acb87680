// Sets the theme before the first paint, so that no page flashes in the other one.
"use strict";
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("esper-theme"); } catch { /* storage is switched off: the system's theme holds */ }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
