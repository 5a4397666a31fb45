import { escapeHtml, html, page, raw } from "../../lib/report/html.js";

describe("html", () => {
  test.each([
    ["<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"],
    [`" onload='x`, "&quot; onload=&#39;x"],
    ["a & b", "a &amp; b"],
    ["nul\u0000, escape\u001b[31m", "nul\ufffd, escape\ufffd[31m"],
    ["right to left \u202e override", "right to left \ufffd override"],
    ["half a pair \ud800", "half a pair \ufffd"],
    ["tab\tand\nline", "tab\tand\nline"],
    ["疗 and 😀", "疗 and 😀"],
  ])("escapes %j", (text, escaped) => {
    expect(escapeHtml(text)).toBe(escaped);
  });

  test("escapes values, keeps markup, joins lists, drops nothing but absent values", () => {
    const inner = html`<b>${"<"}</b>`;
    expect(
      html`<p title="${'"'}">${[inner, 1, " ", null, undefined, false]}${raw("<i>")}</p>`.markup,
    )
      // prettier-ignore
      .toBe('<p title="&quot;"><b>&lt;</b>1 <i></p>');
  });

  test("source indentation goes, line breaks of values stay", () => {
    const out = html`<pre>${"a\n  b"}</pre>
      <p></p>`;
    expect(out.markup).toBe("<pre>a\n  b</pre>\n<p></p>");
  });

  test("a page is self-contained and forbids scripts", () => {
    const text = page({ title: "</title><script>", body: html`<p>hello</p>` });
    expect(text).toMatch(/^<!doctype html>/);
    expect(text).toContain("default-src &#39;none&#39;");
    expect(text).toContain("prefers-color-scheme: dark");
    expect(text).not.toMatch(/<script|<link|<iframe|src=|href=|url\(|@import/i);
    expect(text).toContain("&lt;/title&gt;&lt;script&gt;");
  });
});
