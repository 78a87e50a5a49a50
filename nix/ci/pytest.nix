# The command that runs tests below `paths`. Its jobs share the machine, and load makes deadlines short: a test that
# fails runs once more alone, and fails if it fails again. Of tests that failed twice the second report tells.
{ options ? "", paths }: ''
  first=$PIKACI_ARTIFACTS/pytest.xml
  pytest -q ${options} --junitxml="$first" ${paths} || {
    echo "once more, alone:"
    pytest -q --last-failed --last-failed-no-failures none --junitxml="$PIKACI_ARTIFACTS/again.xml" ${paths} ||
      { rm -f "$first" && false; }
  }
''
