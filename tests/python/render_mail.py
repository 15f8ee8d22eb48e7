"""Renders the HTML of an email in Chromium, at 400 and 1,200 px, light and dark, and checks that nothing is
wider than the window, that every text has the contrast that WCAG 2 asks for (4.5 to 1, or 3 to 1 if it is
large), and that dark mode has a dark background. Reads the emails in the folders.

    python render_mail.py FOLDER...

The environment variable `CHROMIUM` names another browser. Prints the number of texts that were checked.
"""

import email
import email.policy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

MEASURE = """
<script>
addEventListener("load", () => {
  const color = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  // The color behind an element, with those of its ancestors.
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(color(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, [r, g, b, a]) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a)), canvas);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const wrong = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    const style = getComputedStyle(element);
    const shown = element.getClientRects().length > 0 && style.visibility === "visible";
    if (!node.data.trim() || !shown || /^(script|style)$/i.test(element.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    // Preview texts are hidden by their size.
    if (box.width < 2 || box.height < 2 || parseFloat(style.opacity) === 0) continue;
    texts += 1;
    const [front, back] = [luminance(color(style.color)), luminance(behind(element))];
    const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const excerpt = node.data.trim().slice(0, 60);
    if (contrast < (large ? 3 : 4.5)) wrong.push(`contrast ${contrast.toFixed(2)}: ${excerpt}`);
    if (box.right > innerWidth + 1) wrong.push(`ends at ${Math.round(box.right)} of ${innerWidth} px: ${excerpt}`);
  }
  const width = document.documentElement.scrollWidth;
  if (width > innerWidth) wrong.push(`the page is ${width} px wide`);
  parent.postMessage(JSON.stringify({ texts, wrong, width: innerWidth, back: luminance(behind(document.body)) }), "*");
});
</script>
"""


# A window has a least width, a frame has none.
FRAME = """
<meta name="color-scheme" content="light dark">
<script>addEventListener("message", (e) => document.body.setAttribute("data-report", encodeURIComponent(e.data)))</script>
<body><iframe src="PAGE" style="width: WIDTHpx; height: 900px; border: 0"></iframe></body>
"""


def measured(browser, page, profile, width, dark):
    """What is wrong with how the page looks."""
    scheme = 0 if dark else 1
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("PAGE", page.name).replace("WIDTH", str(width)), encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1400,1000", "--virtual-time-budget=3000",
        "--dump-dom", frame.as_uri(),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-report="([^"]+)"', done.stdout)
    assert found, f"{page}: no report; {done.stderr[-2000:]}"
    return json.loads(urllib.parse.unquote(found[1]))


def main():
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    texts, wrong = 0, []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        mails = [path for given in sys.argv[1:] for path in sorted(pathlib.Path(given).glob("*.eml"))]
        for number, path in enumerate(mails):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            page = folder / f"{number}.html"
            html = mail.get_body(("html",)).get_content()
            page.write_text(html.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
            for width in (400, 1200):
                for dark in (False, True):
                    report = measured(browser, page, folder / "profile", width, dark)
                    where = f"{path} at {report['width']} px, {'dark' if dark else 'light'}"
                    assert report["texts"] > 10, f"{where}: {report}"
                    texts += report["texts"]
                    wrong += [f"{where}: {problem}" for problem in report["wrong"]]
                    if report["width"] != width:
                        wrong.append(f"{where}: the window should have {width} px")
                    if dark != (report["back"] < 0.2):
                        wrong.append(f"{where}: a background of luminance {report['back']:.2f}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(texts)


main()
