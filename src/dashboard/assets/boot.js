// Sets the theme before the first paint; a module would run too late and the page would flash.
(() => {
  let theme = null;
  try {
    theme = JSON.parse(localStorage.getItem('brooklet.settings') || '{}').theme;
  } catch {
    // Storage is shut or holds something else: the system's theme it is.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
