import { pad, printable, shorten, textTable, textWidth } from "../../lib/report/table.js";

test("lays out columns, right aligned where asked, without trailing blanks", () => {
  const text = textTable(
    [{ title: "name" }, { title: "n", align: "right" }, { title: "remark" }],
    [["a", "1", ""], ["longer", "1000", "x"], ["short row"]],
  );
  expect(text.split("\n")).toEqual([
    "name          n  remark",
    "---------  ----  ------",
    "a             1",
    "longer     1000  x",
    "short row",
  ]);
});

test("terminal escapes in a cell cannot reach the terminal", () => {
  expect(printable("\u001b[2Jowned\r\n\u009b31m")).toBe("\ufffd[2Jowned\ufffd\ufffd\ufffd31m");
  expect(textTable([{ title: "n" }], [["\u001b[2J"]])).not.toContain("\u001b");
});

test("wide characters count twice", () => {
  expect(textWidth("a疗b")).toBe(4);
  expect(pad("疗", 4)).toBe("疗  ");
  expect(pad("疗", 4, "right")).toBe("  疗");
});

test.each([
  ["short", 10, "short"],
  ["/model/layers.0/q_proj/MatMul", 13, "/model…MatMul"],
  ["疗绚诚娇疗绚", 7, "疗…疗绚"],
  ["abc", 1, "…c"],
])("shortens %j to %d by the middle", (text, width, short) => {
  expect(shorten(text, width)).toBe(short);
});
