"""How reports look: one style sheet for screens, dark screens, narrow ones, and paper."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #52606d; --line: #d5dbe1; --card: #fff; --page: #f6f7f9;
  --accent: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceff3; --soft: #aab4bf; --line: #3a4551; --card: #1b2129;
  --page: #12161c; --accent: #8bbcf2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: break-word; -webkit-text-size-adjust: 100%;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 680; letter-spacing: -.015em; margin: 0; }
h2 { font-size: 1.2rem; font-weight: 640; margin: 2.5rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 46rem; }
.w-patterns { position: absolute; }
.w-soft, .w-about { color: var(--soft); }
.w-aloud { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.w-verdict { display: flex; gap: 1.4rem; align-items: flex-start; padding: 1.5rem; background: var(--card);
  border: 2px solid var(--ink); border-radius: 14px; }
.w-verdict.w-different { border-width: 4px; }
.w-verdict.w-undecided { border-style: dashed; }
.w-verdict.w-same { border-color: var(--accent); }
.w-tag { margin: 0; font-weight: 700; letter-spacing: .08em; font-size: .85rem; color: var(--soft); }
.w-symbol { flex: none; width: 72px; height: 72px; fill: none; stroke: var(--ink); stroke-width: 3.4;
  stroke-linecap: round; stroke-linejoin: round; }
.w-same .w-symbol { stroke: var(--accent); }
.w-notes { margin: .5rem 0 0; padding-left: 1.2rem; }
.w-about { margin-top: .8rem; }

svg { display: block; }
svg text { font-size: 14px; fill: var(--soft); font-family: inherit; }
.w-scale { width: 100%; max-width: 680px; height: auto; overflow: visible; }
.w-scale .w-value { font-size: 15px; font-weight: 650; fill: var(--ink); paint-order: stroke; stroke: var(--page);
  stroke-width: 5px; }
.w-near { fill: var(--accent); fill-opacity: .45; stroke: var(--accent); }
.w-far { stroke: var(--soft); stroke-width: 1.2; }
.w-far-frame { fill: none; stroke: var(--soft); }
.w-between { fill: none; stroke: var(--ink); stroke-dasharray: 3 3; }
.w-limit { stroke: var(--ink); stroke-width: 2.5; }
.w-here { fill: var(--ink); stroke: var(--page); stroke-width: 1; }
.w-curve { fill: none; stroke: var(--accent); stroke-width: 2; }
.w-point { fill: var(--page); stroke: var(--ink); stroke-width: 2.5; }
.w-drop { stroke: var(--ink); stroke-dasharray: 2 4; }
.w-tick { stroke: var(--line); fill: none; }

.w-wide { overflow-x: auto; }
.w-chart { min-width: 36rem; width: 100%; height: auto; }
.w-chart rect { stroke: var(--ink); stroke-width: 1.2; }
.w-chart .w-track { stroke: none; fill: var(--line); fill-opacity: .45; }
.w-chart .w-letter, .w-chart .w-row { fill: var(--ink); font-weight: 640; }
.w-chart .w-letter { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.w-chart .w-word { fill: var(--ink); font-size: 13px; font-weight: 600; paint-order: stroke; stroke: var(--page);
  stroke-width: 4px; stroke-linejoin: round; }
.w-link { stroke: var(--soft); stroke-width: 1; fill: none; }
.w-link.w-moved { stroke: var(--ink); stroke-width: 1.6; stroke-dasharray: 6 3; }
.w-ground { fill: var(--card); }
.w-stroke { stroke: var(--ink); stroke-width: 2.2; fill: none; }
.w-dot { fill: var(--ink); }
.w-fill-plain { fill: var(--accent); fill-opacity: .32; stroke: var(--accent); }
.w-chart rect.w-fill-plain { stroke: var(--accent); }
.w-fill-empty, .w-chart rect.w-fill-empty { fill: none; stroke: var(--ink); stroke-dasharray: 4 3; }
.w-fill-slanted { fill: url(#w-slanted); stroke: var(--ink); }
.w-fill-crossed { fill: url(#w-crossed); stroke: var(--ink); }
.w-fill-dotted { fill: url(#w-dotted); stroke: var(--ink); }
.w-fill-upright { fill: url(#w-upright); stroke: var(--ink); }
.w-legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .6rem 0 0; font-size: .9rem; max-width: none; }
.w-swatch { display: inline-flex; align-items: center; gap: .4rem; }

.w-film { list-style: none; margin: 1rem 0 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.w-film li { border: 1px solid var(--line); border-radius: 10px; padding: .5rem; background: var(--card);
  break-inside: avoid; display: flex; flex-direction: column; gap: .55rem; }
.w-film .w-mark { margin: 0; font-size: .85rem; font-weight: 500; color: var(--soft); line-height: 1.3; }
.w-film li.w-apart { border: 3px dashed var(--ink); padding: calc(.5rem - 2px); }
.w-film li.w-swapped, .w-film li.w-out-of-order { border-style: double; border-width: 5px; padding: calc(.5rem - 4px); }
.w-film li.w-replaced, .w-film li.w-repeated { border-style: dotted; }
.w-film li.w-apart .w-mark { color: var(--ink); font-weight: 680; }
.w-film figure { margin: 0; }
.w-film img { display: block; width: 100%; height: auto; max-height: 13rem; object-fit: contain; border-radius: 4px; }
.w-none { aspect-ratio: 4 / 3; border-radius: 4px;
  display: grid; place-items: center; text-align: center; font-size: .85rem; padding: .4rem; color: var(--ink);
  background: none; border: 1px dashed var(--soft); line-height: 1.3; }
.w-film figcaption { font-size: .85rem; color: var(--soft); margin-top: .15rem;
  font-variant-numeric: tabular-nums; line-height: 1.35; }

table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 620; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .45rem 1rem .45rem 0; border-bottom: 1px solid var(--line);
  font-weight: 400; }
th { color: var(--soft); }
.w-step { color: var(--ink); overflow-wrap: anywhere; }
td { overflow-wrap: anywhere; }
thead th { font-size: .85rem; white-space: nowrap; }
.w-rows th { width: 15rem; }
.w-rows { max-width: 46rem; }
.w-kind, .w-time-cell { white-space: nowrap; overflow-wrap: normal; }
.w-kind { font-weight: 640; }
.w-step { min-width: 9rem; }
.w-what { min-width: 15rem; }
.w-file { min-width: 9rem; }
.w-hash { font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; min-width: 17rem; }
.w-meter { display: inline-block; vertical-align: -1px; margin-right: .5rem; }
.w-meter rect { fill: none; stroke: var(--soft); }
.w-meter .w-full { fill: var(--accent); stroke: none; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  margin: .6rem 0 1.2rem;  white-space: pre-wrap; font: .9rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
details summary { cursor: pointer; color: var(--accent); padding: .3rem 0; }
.w-calibration { width: 100%; height: auto; border-radius: 8px; margin-top: .6rem; background: #fff; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }

@media (max-width: 40rem) {
  main { padding: 1rem .9rem 3rem; }
  h1 { font-size: 1.5rem; }
  .w-verdict { padding: 1rem; gap: .9rem; }
  .w-symbol { width: 48px; height: 48px; }
  .w-film { grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr)); }
  .w-rows, .w-rows tbody, .w-rows tr { display: block; }
  .w-rows th, .w-rows td { display: block; width: auto; padding-right: 0; }
  .w-rows th { border: 0; padding-bottom: 0; font-size: .85rem; }
  .w-rows td { padding-top: 0; }
  .w-stack thead { display: none; }
  .w-stack tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--line); }
  .w-stack th, .w-stack td { border: 0; padding-bottom: .2rem; }
  .w-stack td:nth-child(3)::before { content: "A "; }
  .w-stack td:nth-child(4)::before { content: "B "; }
  .w-stack .w-what { flex-basis: 100%; min-width: 0; }
}
@media print {
  @page { size: A4; margin: 14mm; }
  :root { color-scheme: light; --ink: #000; --soft: #333; --line: #aaa; --card: #fff; --page: #fff; --accent: #1f5fa8; }
  html { font-size: 9.5pt; }
  body { line-height: 1.4; background: none; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 18pt; }
  h2 { font-size: 12pt; margin-top: 14pt; padding-top: 8pt; break-after: avoid; }
  tr, li, pre, figure, svg, .w-verdict { break-inside: avoid; }
  .w-wide { overflow: visible; }
  .w-chart { min-width: 0; }
  .w-what, .w-step, .w-file { min-width: 0; }
  .w-hash { min-width: 0; font-size: 7pt; width: 34%; }
  .w-film { grid-template-columns: repeat(5, 1fr); gap: 5pt; }
  .w-film li { padding: 3pt; }
  .w-film figcaption, .w-film .w-mark, .w-none { font-size: 7.5pt; }
  th, td { padding: 2.5pt 6pt 2.5pt 0; }
  details:not([open]) { display: none; }
}
"""
