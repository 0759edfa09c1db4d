#!/bin/sh
# run-unit.sh PROGRAM... - runs cmocka programs one after the other; prints a line each, what a
# failing one said, and the sum of their tests. What they log goes to PROGRAM.log.
passed=0
failed=0
for program; do
    status=0
    "$program" >"$program.log" 2>&1 || status=$?
    ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$program.log" | awk '{n += $1} END {print n + 0}')
    bad=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$program.log" | awk '{n += $1} END {print n + 0}')
    if [ $status -ne 0 ] || [ "$ok" -eq 0 ]; then
        [ "$bad" -gt 0 ] || bad=1 # it crashed, leaked, or ran no test
        grep -aE '^\[ +(ERROR|LINE|FAILED) |Sanitizer|runtime error|^panic|^ +#' "$program.log" | head -n 60
        tail -n 15 "$program.log"
        echo "$program: ended with status $status"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    printf '  %-44s %3d passed, %d failed\n' "${program##*unit/}" "$ok" "$bad"
done
echo "unit: $passed passed, $failed failed"
[ $failed -eq 0 ]
