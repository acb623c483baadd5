/** The look of a report: light and dark by what the reader's system prefers, and fit for paper. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #14181f; --soft: #5b6472; --faint: #9aa3b0; --line: #e4e7ec; --wash: #f0f2f5;
  --c1: #2f6fed; --c2: #e0632a; --c3: #0c9a7b; --c4: #9250d8; --c5: #b98307; --c6: #d03a74; --c7: #4f8a10; --c8: #5a6b85;
  --good: #0f8a4a; --good-wash: #e3f5ea; --bad: #c9302c; --bad-wash: #fbe9e8; --warn: #97690a; --warn-wash: #fcf2d9;
  --run: #2f6fed; --run-wash: #e5eefd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1116; --card: #161b22; --ink: #e8ecf2; --soft: #98a2b1; --faint: #66707f; --line: #262d37; --wash: #1d232c;
    --c1: #6ea0ff; --c2: #ff9360; --c3: #35cfa9; --c4: #c08cff; --c5: #e8b94a; --c6: #ff7cab; --c7: #93cf4d; --c8: #9db0cc;
    --good: #4cd08a; --good-wash: #12301f; --bad: #ff7b76; --bad-wash: #3a1918; --warn: #ecc065; --warn-wash: #35290e;
    --run: #6ea0ff; --run-wash: #14264a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  -webkit-font-smoothing: antialiased;
}
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 4px 0 8px; display: flex; flex-wrap: wrap; align-items: center; gap: 14px; overflow-wrap: anywhere; }
h2 { font-size: 21px; letter-spacing: -0.01em; margin: 0; }
h3 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 26px 0 10px; }
p { margin: 0; }
.eyebrow { color: var(--soft); font-size: 13px; }
.sub { color: var(--soft); }
.sub span + span::before { content: "·"; margin: 0 8px; color: var(--faint); }
.pill { font-size: 13px; font-weight: 600; letter-spacing: 0; padding: 3px 11px; border-radius: 99px; white-space: nowrap; }
.finished, .hit, .right { color: var(--good); background: var(--good-wash); }
.failed, .miss, .wrong { color: var(--bad); background: var(--bad-wash); }
.interrupted, .both, .neither { color: var(--warn); background: var(--warn-wash); }
.running { color: var(--run); background: var(--run-wash); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 26px 0 16px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 14px 16px; }
.tile .label { color: var(--soft); font-size: 13px; }
.tile .value { font-size: 25px; font-weight: 600; letter-spacing: -0.02em; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile .hint { color: var(--faint); font-size: 12.5px; }
.card { padding: 18px 20px; margin-bottom: 16px; }
section.stage { margin-top: 44px; }
section.stage > header { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 14px; margin-bottom: 14px; }
section.stage > header .number { width: 30px; height: 30px; border-radius: 9px; display: grid; place-items: center; background: var(--ink); color: var(--page); font-weight: 700; font-size: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 16px; }
.charts .card { margin: 0; padding: 14px 16px 8px; }
figure { margin: 0; }
figcaption { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 2px 16px; font-size: 13.5px; margin-bottom: 4px; }
figcaption b { font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; color: var(--soft); font-size: 12.5px; }
.key { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.key i { width: 11px; height: 11px; border-radius: 3px; background: currentColor; background: var(--c); }
.plot { position: relative; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--faint); font-variant-numeric: tabular-nums; }
.grid line { stroke: var(--line); }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1; opacity: 0.28; }
.area { fill: var(--c); opacity: 0.08; }
.dot { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
.band rect { fill: transparent; } .band.odd rect { fill: var(--wash); } .band text { font-weight: 600; fill: var(--soft); }
.cursor line { stroke: var(--faint); stroke-dasharray: 3 3; }
.tip {
  position: absolute; top: 6px; pointer-events: none; opacity: 0; transition: opacity 0.1s; z-index: 1; white-space: nowrap;
  background: var(--ink); color: var(--page); border-radius: 8px; padding: 6px 10px; font-size: 12px; line-height: 1.45;
  font-variant-numeric: tabular-nums; box-shadow: 0 4px 14px rgb(0 0 0 / 0.18);
}
.tip i { display: inline-block; width: 8px; height: 8px; border-radius: 2px; margin-right: 6px; background: var(--c); }
.c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); } .c4 { --c: var(--c4); }
.c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); } .c8 { --c: var(--c8); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-size: 12.5px; font-weight: 500; color: var(--soft); padding: 0 14px 8px 0; white-space: nowrap; }
td { border-top: 1px solid var(--line); padding: 9px 14px 9px 0; vertical-align: top; }
th.n, td.n { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.dim { color: var(--faint); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 16px; margin-top: 16px; }
.columns .card { margin: 0; }
.card > h3:first-child { margin-top: 0; }
.stack { display: flex; height: 20px; border-radius: 6px; overflow: hidden; gap: 2px; margin-bottom: 12px; }
.stack i { background: var(--c); min-width: 1px; }
.rest { --c: var(--line); }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 6px 12px; align-items: center; font-size: 13.5px; }
.bars .track { height: 8px; border-radius: 4px; background: var(--wash); overflow: hidden; }
.bars .track i { display: block; height: 100%; border-radius: 4px; background: var(--c, var(--c1)); }
.bars .n { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); }
.probes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); gap: 16px; }
.probe { background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; display: flex; flex-direction: column; }
.pictures { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 2px; background: var(--line); }
.pictures figure { position: relative; background: var(--wash); display: grid; place-items: center; }
.pictures img { display: block; width: 100%; height: auto; max-height: 280px; object-fit: contain; }
.pictures figcaption { position: absolute; left: 8px; bottom: 8px; margin: 0; padding: 1px 8px; border-radius: 99px; font-size: 11.5px; background: rgb(10 14 20 / 0.66); color: #fff; }
.probe .text { padding: 12px 14px 14px; font-size: 13.5px; overflow-wrap: anywhere; }
.probe .prompt { font-weight: 600; margin-bottom: 8px; }
.probe dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 12px; margin: 0; }
.probe dt { color: var(--faint); } .probe dd { margin: 0; }
.probe .pill { font-size: 11.5px; padding: 1px 8px; margin-left: 6px; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; border: 2.5px solid var(--c); margin-right: 6px; vertical-align: -1px; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 12px; margin-top: 16px; }
summary { cursor: pointer; padding: 12px 18px; font-size: 13.5px; font-weight: 600; }
details > :not(summary) { margin: 0; padding: 4px 20px 18px; }
pre { overflow-x: auto; font: 12.5px/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; color: var(--soft); }
li { margin: 3px 0; }
footer { margin-top: 48px; color: var(--faint); font-size: 12.5px; }
@media print { body { background: #fff; } .card, .tile, .probe { break-inside: avoid; } }
`;
