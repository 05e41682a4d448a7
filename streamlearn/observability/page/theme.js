// The theme that was chosen last, before anything is drawn; without a choice the system's own.
"use strict";
try {
  const chosen = localStorage.getItem("streamlearn-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden: then the system's theme it is.
}
