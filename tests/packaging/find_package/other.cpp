#include <vierbein/vierbein.hpp>

vierbein::index_t count_in_other_file() {
  vierbein::parameters<double> theta;
  theta.add("weight", 3, 4, vierbein::initialiser::zeros);
  return theta.count();
}
