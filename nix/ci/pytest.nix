# The command that runs tests below `paths`. Its jobs share the machine, and load makes deadlines short: a test that
# fails runs once more alone, and fails if it fails again.
{ options ? "", paths }: ''
  pytest -q ${options} ${paths} || {
    echo "once more, alone:"
    pytest -q --last-failed --last-failed-no-failures none ${paths}
  }
''
