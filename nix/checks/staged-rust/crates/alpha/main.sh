echo "alpha says $1"
