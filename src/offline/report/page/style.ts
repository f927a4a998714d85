/** The page's style sheet. Colours are told apart by people who see few of them, in light and in dark. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--fg:#1c2024;--dim:#5a6370;--line:#d5d9df;--link:#0b57b0;--bad:#b3261e;--good:#1b6e3c;
--s0:#8a94a3;--s1:#e08a00;--s2:#2f74c0;--s3:#b5509b;--s4:#17936a;--s5:#c9ced6}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2127;--fg:#e6e9ed;--dim:#a3acb8;--line:#38404a;--link:#8ab8ff;--bad:#ff9087;--good:#7fd6a2;
--s0:#7d8896;--s1:#f0a63a;--s2:#6aa5e8;--s3:#d987c3;--s4:#45bd91;--s5:#4a525d}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
.skip{position:absolute;left:-9999px;top:0;background:var(--fg);color:var(--bg);padding:.5rem 1rem;z-index:1}
.skip:focus{left:0}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
header,main,footer{max-width:80rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.25rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .5rem}
h3{font-size:1rem;margin:0 0 .25rem}
p{margin:.25rem 0 .75rem;max-width:75ch}
.dim,footer{color:var(--dim);font-size:.9rem}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;margin:.75rem 0 0;padding:.5rem 0;border-block:1px solid var(--line)}
section{margin:1.75rem 0;scroll-margin-top:1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.tiles dt{color:var(--dim);font-size:.85rem}
.tiles dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums;line-height:1.3}
.tiles dd small{display:block;font-size:.8rem;color:var(--dim)}
.grid3{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem;min-width:0}
figure{margin:0}
.card+.card{margin-top:.75rem}
.grid3 .card+.card{margin-top:0}
.chart{display:block;overflow:visible}
.chart text{fill:var(--dim);font-size:12px;font-family:inherit}
.chart .y-label,.chart .mark-label{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.chart .grid{stroke:var(--line);stroke-dasharray:2 3}
.chart .axis,.strip .axis{stroke:var(--line)}
.chart .mark{stroke:var(--fg);stroke-width:1.5}
.chart .m1{stroke-dasharray:5 3}
.chart .m2{stroke-dasharray:1.5 2.5}
.chart .mark-label{fill:var(--fg);font-size:11px}
.s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}.s5{fill:var(--s5)}.bad{fill:var(--bad)}.dot{fill:var(--fg)}.soft{fill:var(--s2);opacity:.45}.zero{fill:var(--dim)}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1rem;list-style:none;margin:.4rem 0 0;padding:0;font-size:.85rem}
.legend svg{width:.8rem;height:.8rem;margin-right:.35rem;vertical-align:-1px}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--dim);font-size:.85rem;padding-bottom:.25rem}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:middle}
thead th{font-weight:600;color:var(--dim);white-space:nowrap}
tbody th{font-weight:400}
.n{text-align:right;white-space:nowrap}
.t{overflow-wrap:break-word;min-width:7rem}
.w{min-width:18rem}
tr:has(.w)>*{vertical-align:top}
.p{width:40%;min-width:8rem}
.strip{display:block}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.85em;overflow-wrap:anywhere}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;background:var(--card)}
summary{cursor:pointer;padding:.5rem .8rem;overflow-wrap:anywhere}
details>:not(summary){margin:0 .8rem .6rem}
.numbers{background:transparent;border:0;margin:.4rem 0 0;font-size:.9rem}
.numbers summary{padding:.2rem 0;color:var(--link)}
.numbers>:not(summary){margin:.3rem 0}
.bad-text{color:var(--bad);font-weight:600}
.good-text{color:var(--good)}
.facts{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;font-size:.9rem;color:var(--dim);margin:0 .8rem .5rem}
.facts span{min-width:0;overflow-wrap:anywhere}
.facts b{color:var(--fg);font-weight:600}
.measure th{color:var(--dim);font-style:italic}
.service{color:var(--dim)}
.d1{padding-left:1rem}.d2{padding-left:2rem}.d3{padding-left:3rem}.d4{padding-left:4rem}.d5{padding-left:5rem}.d6{padding-left:6rem}
@media (max-width:40rem){
th,td{padding:.25rem .4rem}
.waterfall thead{position:absolute;left:-9999px}
.waterfall tr{display:grid;grid-template-columns:1fr auto auto;border-bottom:1px solid var(--line)}
.waterfall th,.waterfall td{border:0;min-width:0}
.waterfall .p{grid-column:1/-1;width:100%}
.d1{padding-left:.4rem}.d2{padding-left:1.2rem}.d3{padding-left:2rem}.d4,.d5,.d6{padding-left:2.6rem}
}
@media print{nav,.skip{display:none}.card,details,.tiles div{break-inside:avoid}}
`;
