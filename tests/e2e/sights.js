() => {
  // Notes every status that a stage or a cell shows, once and in the order in which it was seen.
  window.sights = [];
  const look = () => {
    for (const each of document.querySelectorAll(".stage, .cell")) {
      const sight = `${each.id} ${each.classList[1]}`;
      if (!window.sights.includes(sight)) window.sights.push(sight);
    }
  };
  look();
  const changes = { subtree: true, childList: true, attributes: true };
  new MutationObserver(look).observe(document.querySelector("#stages"), changes);
}
