SELECT counts FROM timeline WHERE began_s = :began_s
