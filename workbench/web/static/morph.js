"use strict";
// Makes an element's content equal to new HTML by changing only what differs: focus, selection, scroll positions and
// what a reader has unfolded stay as they are.

function morphInto(element, html) {
  const target = element.cloneNode(false);
  target.innerHTML = html;
  morphChildren(element, target);
}

function morphChildren(now, wanted) {
  const known = new Map([...now.children].filter((each) => each.id).map((each) => [each.id, each]));
  let place = now.firstChild;
  for (const next of [...wanted.childNodes]) {
    const match = next.id ? known.get(next.id) : place && !place.id && alike(place, next) ? place : null;
    if (!match) {
      now.insertBefore(next, place);
    } else {
      if (match !== place) now.insertBefore(match, place);
      morphNode(match, next);
      place = match.nextSibling;
    }
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function morphNode(now, wanted) {
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== wanted.nodeValue) now.nodeValue = wanted.nodeValue;
    return;
  }
  if (!alike(now, wanted)) {
    now.replaceWith(wanted);
    return;
  }
  morphAttributes(now, wanted);
  if (!now.hasAttribute("data-keep")) morphChildren(now, wanted);
}

function morphAttributes(now, wanted) {
  // A fold follows the server only when the server changes its mind, and never once a reader has touched it.
  const follows = now.dataset.open !== wanted.dataset.open && !now.hasAttribute("data-touched");
  const own = new Set(["data-touched", ...(now.nodeName === "DETAILS" && !follows ? ["open"] : [])]);
  if (now.nodeName === "SELECT" || now.nodeName === "OPTION") own.add("selected");
  for (const { name } of [...now.attributes]) {
    if (!own.has(name) && !wanted.hasAttribute(name)) now.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (!own.has(name) && now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
}
