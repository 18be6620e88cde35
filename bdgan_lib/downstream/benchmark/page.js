// A click on a column's head sorts its table: numbers from the largest, texts from A; again: the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const number = head.dataset.kind === "number", now = head.getAttribute("aria-sort");
    const down = now === "none" ? number : now === "ascending";
    const value = (row) => row.cells[column].dataset.value;
    const compare = number ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(value(a), value(b)));
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }));
}
