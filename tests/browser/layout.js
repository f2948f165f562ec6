// SPDX-License-Identifier: Apache-2.0
// What is wrong with the page that is shown: a list of sentences. Measured, as a reader would see it.
(() => {
  const wrong = [];
  const say = (what, node, more = "") => wrong.push(`${what}: ${(node.textContent || node.tagName).trim().slice(0, 60)} ${more}`);
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);

  const parts = (color) => {
    const found = color.match(/[0-9.]+/g).map(Number);
    return { rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1 };
  };
  const ground = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      const layer = parts(getComputedStyle(one).backgroundColor);
      layers.push(layer);
      if (layer.alpha === 1) break;
    }
    return layers.reverse().reduce((below, { rgb, alpha }) => rgb.map((part, at) => part * alpha + below[at] * (1 - alpha)), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => (Math.max(light(one), light(other)) + 0.05) / (Math.min(light(one), light(other)) + 0.05);

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.data.trim() || owner.closest("script, style, noscript, option, title, .skip") || !owner.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter((rect) => rect.width > 0.5);
    if (!rects.length || rects.every((rect) => rect.right < 0)) continue;
    const style = getComputedStyle(owner);
    const svg = owner.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    if (parseFloat(style.fontSize) * scale < 10.99) say("smaller than 11 px", owner, parseFloat(style.fontSize) * scale);
    const frame = owner.closest("svg, .scroll, .tile, section, header").getBoundingClientRect();
    for (const rect of rects) {
      if (rect.left < frame.left - 1 || rect.right > frame.right + 1 || rect.top < frame.top - 1 || rect.bottom > frame.bottom + 1) {
        say("out of its frame", owner, `${Math.round(rect.left)}..${Math.round(rect.right)} in ${Math.round(frame.left)}..${Math.round(frame.right)}`);
      }
      if (rect.right > width + 1) say("out of sight", owner);
      texts.push({ rect, owner, node });
    }
    const fore = parts(svg ? style.fill : style.color).rgb;
    if (contrast(fore, ground(svg || owner)) < 4.49) say("too little contrast", owner, contrast(fore, ground(svg || owner)));
    for (const match of node.data.matchAll(/\d+\.\d+\.\d+\.\d+/g)) {
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      if (new Set([...range.getClientRects()].map((rect) => Math.round(rect.top))).size > 1) say("an address is broken", owner);
    }
  }
  texts.sort((a, b) => a.rect.top - b.rect.top);
  texts.forEach((one, at) => {
    for (let next = at + 1; next < texts.length && texts[next].rect.top < one.rect.bottom - 3; next += 1) {
      const other = texts[next];
      if (other.node !== one.node && Math.min(one.rect.right, other.rect.right) - Math.max(one.rect.left, other.rect.left) > 1) {
        say("overprints", one.owner, `and ${other.owner.textContent.trim().slice(0, 60)}`);
      }
    }
  });
  for (const scroll of document.querySelectorAll(".scroll")) {
    if (scroll.scrollWidth > scroll.clientWidth + 1) say("scrolls sideways", scroll);
  }
  for (const swatch of document.querySelectorAll(".swatch, .lanes .track i")) {
    if (getComputedStyle(swatch).opacity !== "1") continue;
    if (contrast(parts(getComputedStyle(swatch).backgroundColor).rgb, ground(swatch.parentElement)) < 2.99) say("a colour is too close to its ground", swatch.parentElement);
  }
  for (const svg of document.querySelectorAll("#timeline svg, #lengths svg")) {
    const frame = svg.getBoundingClientRect();
    const top = [...svg.querySelectorAll("text")].filter((text) => text.classList.contains("unit"))[0];
    if (!top || !/^connections/.test(top.textContent)) say("a chart has no unit", svg);
    for (const bar of svg.querySelectorAll("rect.bar")) {
      const rect = bar.getBoundingClientRect();
      if (rect.top < frame.top + 24 || rect.right > frame.right + 0.5) say("a bar touches the frame", bar);
    }
  }
  return [...new Set(wrong)];
})()
