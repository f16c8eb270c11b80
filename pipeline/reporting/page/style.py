"""The look of the page: that of Data Docs, on narrower lines and on paper too."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7c; --line: #dde3ea; --page: #f6f8fa; --card: #fff;
  --good: #1a7f4b; --warn: #a86400; --bad: #b42318; --seen: #c64a33; --unseen: #64286e; --rail: #e9edf2; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6ebf2; --soft: #98a6b8; --line: #2b3644;
  --page: #11161d; --card: #19212b; --good: #4cc38a; --warn: #e0a23c; --bad: #f2766b; --seen: #e07a66;
  --unseen: #b987c4; --rail: #2b3644; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 40px 24px 80px; }
header p { margin: 0; color: var(--soft); }
h1 { font-size: 27px; line-height: 1.25; letter-spacing: -0.01em; margin: 0 0 4px; text-wrap: balance; }
h2 { font-size: 19px; letter-spacing: -0.005em; margin: 46px 0 8px; }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 4px 0 12px; max-width: 76ch; } ul { margin: 4px 0 12px; padding-left: 20px; max-width: 76ch; }
li { margin: 5px 0; } .soft, small { color: var(--soft); }
.result { margin: 24px 0 22px; padding: 4px 0 4px 20px; border-left: 4px solid var(--unseen); }
.result p { font-size: 18px; line-height: 1.5; margin: 0 0 10px; max-width: 68ch; } .result p:last-child { margin: 0; }
.result data { font-weight: 650; } .result code { font-size: 15.5px; }
.banner { border-left: 4px solid var(--tone); background: var(--card); padding: 12px 18px; margin: 18px 0; }
.banner b { color: var(--tone); }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
.seen { --tone: var(--seen); } .unseen { --tone: var(--unseen); }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 16px; line-height: 1.4; }
.card b { display: block; font-size: 25px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card small { display: block; font-size: 12.5px; margin-top: 3px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: 8px 0 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; line-height: 1.4; }
th, td { padding: 6px 9px; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; } tbody tr:last-child td { border-bottom: 0; }
td > code { white-space: nowrap; }
td small { font-size: 12px; white-space: nowrap; } td.number > small { display: block; }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
.badge { color: var(--tone); border: 1px solid var(--tone); border-radius: 99px; padding: 0 8px; font-size: 12px;
  white-space: nowrap; }
code { font: 12.5px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.none { color: var(--soft); }
.bar { display: inline-block; vertical-align: -1px; } .rail { fill: var(--rail); }
.fill { fill: var(--tone); opacity: 0.75; } .reach { stroke: var(--ink); stroke-width: 1.2; fill: none; }
figure { margin: 14px 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 8px; }
img { display: block; max-width: min(100%, 780px); height: auto; margin: 0 auto; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.pair ul { margin: 0 0 12px; }
.box { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 4px 18px 8px; }
.box h3 { margin-top: 12px; color: var(--tone); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 18px;
  max-width: 82ch; font-size: 14px; margin: 8px 0; } dt { font-weight: 600; } dd { margin: 0; color: var(--soft); }
@media (max-width: 720px) { .cards { grid-template-columns: 1fr 1fr; } .pair, dl { grid-template-columns: 1fr; } }
@media print { @page { margin: 16mm 14mm; } body { background: #fff; font-size: 10.5pt; }
  main { padding: 0; max-width: none; }
  .result p { font-size: 13pt; } .scroll { overflow: visible; } h2, h3 { break-after: avoid; }
  tr, figure, .card, .banner, .box { break-inside: avoid; } thead { display: table-header-group; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
