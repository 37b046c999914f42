/** Colours that say something, on a terminal only. */
import { styleText } from "node:util";

export type Paint = (text: string) => string;

export interface Palette {
  readonly good: Paint;
  readonly warn: Paint;
  readonly bad: Paint;
  readonly faint: Paint;
  readonly strong: Paint;
}

const plain: Paint = (text) => text;

export const NO_COLOUR: Palette = { good: plain, warn: plain, bad: plain, faint: plain, strong: plain };

const styled = (style: Parameters<typeof styleText>[0]): Paint => {
  // Whether to use colours has been decided; styleText is not to ask the stream again.
  return (text) => styleText(style, text, { validateStream: false });
};

export const COLOURS: Palette = {
  good: styled("green"),
  warn: styled("yellow"),
  bad: styled("red"),
  faint: styled("dim"),
  strong: styled("bold"),
};
