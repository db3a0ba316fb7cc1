'use strict';
// Numbers, times and elements. Text is always a text node.
const format = (() => {
  const number = (value, digits) => value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const isNumber = (value) => typeof value === 'number' && isFinite(value);
  const plain = (value) => {
    if (!isNumber(value)) return '–';
    const size = Math.abs(value);
    if (size >= 1e9) return number(value / 1e9, 2) + ' G';
    if (size >= 1e6) return number(value / 1e6, 2) + ' M';
    if (size >= 100 || value === Math.round(value)) return number(value, 0);
    return number(value, size >= 10 ? 1 : 2);
  };
  const seconds = (value) => {
    if (!isNumber(value)) return '–';
    if (value >= 100) return number(value, 0) + ' s';
    if (value >= 1) return number(value, 2) + ' s';
    if (value >= 0.1) return number(value * 1e3, 0) + ' ms';
    if (value >= 0.001) return number(value * 1e3, 1) + ' ms';
    return number(value * 1e6, 0) + ' µs';
  };
  const percent = (value) => {
    if (!isNumber(value)) return '–';
    const of100 = value * 100;
    return number(of100, of100 === 0 || of100 >= 10 ? 0 : of100 < 0.1 ? 2 : 1) + ' %';
  };
  const bytes = (value) => {
    if (!isNumber(value)) return '–';
    for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 1024]]) {
      if (value >= size) return number(value / size, value >= 100 * size ? 0 : 1) + ' ' + unit;
    }
    return value + ' B';
  };
  const span = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return s + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min';
    if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
    return Math.floor(s / 86400) + ' d ' + Math.floor((s % 86400) / 3600) + ' h';
  };
  const two = (value) => String(value).padStart(2, '0');
  const clock = (ms) => {
    const at = new Date(ms);
    return two(at.getHours()) + ':' + two(at.getMinutes()) + ':' + two(at.getSeconds());
  };
  const unit = (value, of) => ({ ratio: percent, seconds, per_second: (v) => plain(v) + '/s' }[of] || plain)(value);

  /** An element: `el('a', { class: 'x', onclick }, 'text', child)`. */
  const el = (tag, properties, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (typeof value === 'function') made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? '' : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  };
  return { plain, seconds, percent, bytes, span, clock, unit, el, isNumber };
})();
