"use strict";
// Filtering and unfolding of comparison lists. Without scripts the lists are complete and can be opened one by one.
for (const list of document.querySelectorAll(".browse")) {
  const items = [...list.querySelectorAll(".comparison")];
  const tools = list.querySelector(".tools");
  const filter = tools.querySelector(".filter");
  const unfold = tools.querySelector(".unfold");
  const count = tools.querySelector(".count");
  tools.hidden = items.length < 2;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      shown += item.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${items.length}` : "";
  });
  unfold.addEventListener("click", () => {
    const open = unfold.textContent === "Open all";
    for (const item of items) item.open = open && !item.hidden;
    unfold.textContent = open ? "Close all" : "Open all";
  });
}
