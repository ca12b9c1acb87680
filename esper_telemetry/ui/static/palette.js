// Colours of the charts by theme. The hues are those of Okabe and Ito, which people with any colour vision tell apart;
// on a dark ground they are lighter. A meaning is never given by colour alone.

const LIGHT = ["#0072b2", "#c65000", "#00845f", "#a8487f", "#9a6b00", "#2f86b8", "#6a4fa3", "#6b6b1f"];
const DARK = ["#5db5ec", "#f2945c", "#45cfa5", "#e6a3ca", "#eec455", "#9bd0f5", "#bfa8ea", "#cfcf7a"];

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function hue(number) {
  const hues = isDark() ? DARK : LIGHT;
  return hues[((number % hues.length) + hues.length) % hues.length];
}

export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export const TONES = { good: "good", warning: "warning", bad: "bad", muted: "muted", "": "plain" };
export const TONE_GLYPHS = { good: "✓", warning: "▲", bad: "✕", muted: "·", "": "" };

/** A colour of one hue from faint to strong, for a share between 0 and 1; the ground is the theme's. */
export function heat(share) {
  const clamped = Math.max(0, Math.min(1, share));
  // Lightness alone carries the number, so that a print in grey and any colour vision read the same.
  return isDark()
    ? `hsl(205 ${30 + 50 * clamped}% ${14 + 58 * clamped}%)`
    : `hsl(205 ${40 + 45 * clamped}% ${96 - 66 * clamped}%)`;
}
