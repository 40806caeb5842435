/** Colours of points and boxes: one ramp for quantities, one palette for things that are counted. */

export type Rgb = readonly [number, number, number];

export const BACKGROUND: Rgb = [13, 17, 23];
export const HIGHLIGHT: Rgb = [255, 221, 87];

const RAMP_SIZE = 256;

/**
 * Return the ramp for quantities, 256 RGBA bytes quadruples from low to high.
 *
 * Source: Turbo, an improved rainbow colormap (A. Mikhailov, 2019), its polynomial approximation.
 */
export function quantityRamp(): Uint8Array {
  const ramp = new Uint8Array(RAMP_SIZE * 4);
  for (let i = 0; i < RAMP_SIZE; i++) {
    const color = turbo(0.08 + (0.84 * i) / (RAMP_SIZE - 1));
    ramp.set([...color, 255], i * 4);
  }
  return ramp;
}

function turbo(x: number): Rgb {
  const at = (c: readonly number[]) => c.reduceRight((sum, factor) => sum * x + factor, 0);
  const byte = (value: number) => Math.round(255 * Math.min(1, Math.max(0, value)));
  return [
    byte(at([0.13572138, 4.6153926, -42.66032258, 132.13108234, -152.94239396, 59.28637943])),
    byte(at([0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604])),
    byte(at([0.1066733, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973])),
  ];
}

/** Return a palette texture of 256 RGBA colours: `given` first, then colours that differ well. */
export function palette(given: readonly Rgb[]): Uint8Array {
  const bytes = new Uint8Array(RAMP_SIZE * 4);
  for (let i = 0; i < RAMP_SIZE; i++) {
    bytes.set([...(given[i] ?? spread(i)), 255], i * 4);
  }
  return bytes;
}

/** Return the colour of the i-th thing: hues a golden angle apart. */
export function spread(index: number): Rgb {
  const hue = (index * 0.61803398875 + 0.58) % 1;
  const lightness = 0.58 + 0.1 * ((index % 3) - 1);
  const channel = (n: number) => {
    const k = (n + hue * 12) % 12;
    const chroma = 0.62 * Math.min(lightness, 1 - lightness);
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** Return a colour as CSS. */
export function css(color: Rgb, alpha = 1): string {
  return alpha === 1 ? `rgb(${color.join(" ")})` : `rgb(${color.join(" ")} / ${alpha})`;
}
