// A click on a title sorts by its column, and a second one the other way round; what is no number goes last.
const key = (row, column) => row.cells[column].textContent.trim().replaceAll(",", "");
const compare = (a, b, sign) => {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (isNaN(x) && isNaN(y)) return sign * a.localeCompare(b);
  return isNaN(x) ? 1 : isNaN(y) ? -1 : sign * (x - y);
};
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const title = button.parentElement, body = title.closest("table").tBodies[0];
    const sign = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of title.parentElement.cells) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => compare(key(a, title.cellIndex), key(b, title.cellIndex), sign)));
  });
}
