// Decoder of a thumbhash, about thirty bytes with a blurred picture. The format is
// <https://evanw.github.io/thumbhash/>: a few cosines of lightness, two of color and one of
// transparency.

/** Returns the ratio of width to height of a hash. */
function ratioOf(hash) {
  const isWide = (hash[4] & 0x80) !== 0;
  const [most, least] = [(hash[2] & 0x80) !== 0 ? 5 : 7, hash[3] & 7];
  return isWide ? most / least : least / most;
}

/** Draws it onto a small canvas, to be stretched. */
export function draw(text) {
  const hash = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const plan = parse(hash);
  const ratio = ratioOf(hash);
  const width = Math.max(1, Math.round(ratio > 1 ? 32 : 32 * ratio));
  const height = Math.max(1, Math.round(ratio > 1 ? 32 / ratio : 32));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const [across, down] = [cosines(width), cosines(height)];
  let at = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const sum = (channel) => channel.terms.reduce(
        (total, { value, cx, cy }) => total + value * across[x][cx] * down[y][cy] * 2, channel.mean);
      const [l, p, q] = [sum(plan.lightness), sum(plan.yellowBlue), sum(plan.redGreen)];
      const alpha = plan.alpha ? sum(plan.alpha) : 1;
      const blue = l - (2 / 3) * p;
      const red = (3 * l - blue + q) / 2;
      const green = red - q;
      for (const value of [red, green, blue, alpha]) pixels.data[at++] = Math.round(255 * Math.min(1, Math.max(0, value)));
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Returns the channels of a hash, each with its mean and its terms. */
function parse(hash) {
  const head = hash[0] | (hash[1] << 8) | (hash[2] << 16);
  const tail = hash[3] | (hash[4] << 8);
  const hasAlpha = (head >> 23) !== 0;
  const isWide = (tail >> 15) !== 0;
  const [most, least] = [hasAlpha ? 5 : 7, tail & 7];
  const [columns, rows] = (isWide ? [most, least] : [least, most]).map((terms) => Math.max(3, terms));
  const halves = halfBytes(hash, hasAlpha ? 6 : 5);
  const channel = (mean, scale, across, down) => {
    const terms = [];
    for (let cy = 0; cy < down; cy += 1) {
      for (let cx = cy ? 0 : 1; cx * down < across * (down - cy); cx += 1) {
        terms.push({ value: ((halves.next().value ?? 7.5) / 7.5 - 1) * scale, cx, cy });
      }
    }
    return { mean, terms };
  };
  const lightness = channel((head & 63) / 63, ((head >> 18) & 31) / 31, columns, rows);
  // The format boosts color a little.
  const yellowBlue = channel(((head >> 6) & 63) / 31.5 - 1, (((tail >> 3) & 63) / 63) * 1.25, 3, 3);
  const redGreen = channel(((head >> 12) & 63) / 31.5 - 1, (((tail >> 9) & 63) / 63) * 1.25, 3, 3);
  const alpha = hasAlpha ? channel((hash[5] & 15) / 15, (hash[5] >> 4) / 15, 5, 5) : null;
  return { lightness, yellowBlue, redGreen, alpha };
}

function* halfBytes(hash, from) {
  for (const byte of hash.subarray(from)) {
    yield byte & 15;
    yield byte >> 4;
  }
}

/** Returns the cosines of up to seven terms at each position. */
function cosines(size) {
  return Array.from({ length: size }, (_, at) => Array.from(
    { length: 8 }, (_, term) => Math.cos((Math.PI / size) * (at + 0.5) * term)));
}
