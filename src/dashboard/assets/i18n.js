// Every text that the page itself says, from one catalogue a language: i18n/en.json, i18n/zh-CN.json.
// An entry is a text with {places}, or its plural forms ({"one": …, "other": …}) chosen by {count}.

import { settings } from './settings.js';

export const LANGUAGES = { en: 'English', 'zh-CN': '简体中文' };

let language = 'en';
let texts = {};
let plural = new Intl.PluralRules('en');

function preferred() {
  const chosen = settings.get('language');
  if (chosen in LANGUAGES) return chosen;
  for (const wish of navigator.languages || [navigator.language]) {
    if (/^zh\b/i.test(wish)) return 'zh-CN';
    if (/^en\b/i.test(wish)) return 'en';
  }
  return 'en';
}

/** Loads the catalogue of the language that is wished for. */
export async function loadLanguage() {
  const wanted = preferred();
  const answer = await fetch(new URL(`i18n/${wanted}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`catalogue ${wanted}: ${answer.status}`);
  texts = await answer.json();
  language = wanted;
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

/** `en` or `zh-CN`. */
export function currentLanguage() {
  return language;
}

/** For Intl: an English viewer's own variant (en-GB, …) writes dates and numbers their way. */
export function locale() {
  if (language !== 'en') return language;
  return (navigator.languages || []).find((wish) => /^en\b/i.test(wish)) || 'en';
}

function entry(key) {
  return key.split('.').reduce((at, part) => (at === undefined || at === null ? at : at[part]), texts);
}

function pattern(key, params) {
  let found = entry(key);
  if (found !== null && typeof found === 'object') found = found[plural.select(Number(params?.count ?? 0))] ?? found.other;
  if (typeof found !== 'string') {
    console.warn(`no text for ${key}`);
    return key;
  }
  return found;
}

function shown(value) {
  return typeof value === 'number' ? value.toLocaleString(locale()) : String(value ?? '');
}

/** The text of a key, with {places} filled; numbers are written as the language does. */
export function t(key, params) {
  return pattern(key, params).replace(/\{(\w+)\}/g, (whole, name) => (params && name in params ? shown(params[name]) : whole));
}

/** The same as a list of nodes and texts, for places that hold elements. */
export function rich(key, params) {
  return pattern(key, params)
    .split(/(\{\w+\})/)
    .filter(Boolean)
    .map((part) => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1];
      if (!name || !params || !(name in params)) return part;
      return params[name] instanceof Node ? params[name] : shown(params[name]);
    });
}

/** Whether there is a text; for words that the server may add to. */
export function hasText(key) {
  const found = entry(key);
  return typeof found === 'string' || (found !== null && typeof found === 'object' && 'other' in found);
}

/** The text for one of the server's words, or the word itself. */
export function word(group, value) {
  if (value === undefined || value === null) return '';
  const key = `${group}.${value}`;
  return hasText(key) ? t(key) : String(value);
}
