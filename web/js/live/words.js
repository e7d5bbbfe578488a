// The texts of the live panel in the supported languages; `fill` of ../strings.js puts values into them.

import { EN } from "./words_en.js";
import { JA } from "./words_ja.js";
import { KO } from "./words_ko.js";
import { ZH } from "./words_zh.js";

const WORDS = { en: EN, ja: JA, ko: KO, zh: ZH };

/** The language of the live panel's texts for a locale such as "ko" or "zh-TW". An unsupported one gets English. */
export function liveLanguage(locale) {
  const language = String(locale ?? "").split(/[-_]/)[0].toLowerCase();
  return Object.hasOwn(WORDS, language) ? language : "en";
}

/** The texts of that language. */
export function liveWords(locale) {
  return WORDS[liveLanguage(locale)];
}
