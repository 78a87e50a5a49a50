# nearest names name: the most similar of names, or null if more than a third of name differs.
let
  inherit (builtins) elemAt filter foldl' genList head length stringLength substring;

  min = a: b: if a < b then a else b;
  absolute = number: if number < 0 then -number else number;

  distance =
    a: b:
    let
      row =
        previous: i:
        foldl' (
          current: j:
          let
            substitution = if substring i 1 a == substring j 1 b then 0 else 1;
            cost = min (min (elemAt current j + 1) (elemAt previous (j + 1) + 1)) (elemAt previous j + substitution);
          in
          current ++ [ cost ]
        ) [ (i + 1) ] (genList (j: j) (stringLength b));
      rows = foldl' row (genList (j: j) (stringLength b + 1)) (genList (i: i) (stringLength a));
    in
    elemAt rows (stringLength b);
in
names: name:
let
  limit = (stringLength name + 2) / 3;
  plausible = if stringLength name > 64 then [ ] else filter (other: absolute (stringLength other - stringLength name) <= limit) names;
  scored = filter (entry: entry.score <= limit) (
    map (other: {
      inherit other;
      score = distance name other;
    }) plausible
  );
  best = foldl' (a: b: if b.score < a.score then b else a) (head scored) scored;
in
if length scored == 0 then null else best.other
